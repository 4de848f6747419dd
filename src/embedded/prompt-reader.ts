// Finds the question and the passages in the messages of a request. The context block and its escaping are those of
// ragmill's own prompt; it may stand in any message and among other text.

export interface ChatMessage {
  readonly role: string;
  readonly text: string;
}

export interface ContextPassage {
  readonly title: string;
  readonly text: string;
}

export interface Prompt {
  readonly question: string;
  /** Null where no message has a context block; empty where the block has no passage. */
  readonly passages: readonly ContextPassage[] | null;
}

const CONTEXT_OPEN = /<context>(?=\s*<passage |\s*<digest>|\s*<\/context>)/;
const CONTEXT_CLOSE = '</context>';
const PASSAGE_OPEN = /<passage ([^<>]*)>\r?\n?/y;
const PASSAGE_CLOSE = '</passage>';
/** What a RAG model wrote, in the place of the passages. */
const DIGEST = /<digest>\r?\n?([\s\S]*?)<\/digest>/;
const TITLE = /\btitle="([^"]*)"/;
const QUESTION_MARK = 'Question:';

/** Text that looked like a tag of the fence came with its first character escaped; all other text came as it was. */
const ESCAPED_FENCE = /&lt;(?=\s*(?:\/\s*)?(?:passage|context|digest))/gi;
const ATTRIBUTE_ENTITIES: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&amp;': '&',
};

function readTitle(attributes: string): string {
  const title = TITLE.exec(attributes)?.[1] ?? '';
  return title.replace(/&(?:lt|gt|quot|amp);/g, (entity) => ATTRIBUTE_ENTITIES[entity] ?? entity);
}

function readPassages(block: string): ContextPassage[] {
  const passages: ContextPassage[] = [];
  const digest = DIGEST.exec(block)?.[1];
  if (digest !== undefined) passages.push({ title: '', text: digest.replace(ESCAPED_FENCE, '<') });
  let at = block.indexOf('<passage ');
  while (at !== -1) {
    PASSAGE_OPEN.lastIndex = at;
    const opening = PASSAGE_OPEN.exec(block);
    const start = at + (opening?.[0].length ?? 1);
    const close = block.indexOf(PASSAGE_CLOSE, start);
    const end = close === -1 ? block.length : close;
    if (opening !== null) {
      const text = block.slice(start, end).replace(ESCAPED_FENCE, '<');
      passages.push({ title: readTitle(opening[1] ?? ''), text });
    }
    at = block.indexOf('<passage ', opening === null ? start : end);
  }
  return passages;
}

/** Splits a message into its passages and the text around them. */
function readMessage(text: string): { passages: ContextPassage[] | null; before: string; after: string } {
  const open = CONTEXT_OPEN.exec(text);
  if (open === null) return { passages: null, before: '', after: text };
  const start = open.index + open[0].length;
  const close = text.indexOf(CONTEXT_CLOSE, start);
  const end = close === -1 ? text.length : close;
  const passages = readPassages(text.slice(start, end));
  return { passages, before: text.slice(0, open.index), after: text.slice(end + CONTEXT_CLOSE.length) };
}

function withoutMark(text: string): string {
  const trimmed = text.trim();
  if (trimmed.startsWith(QUESTION_MARK)) return trimmed.slice(QUESTION_MARK.length).trim();
  const mark = trimmed.lastIndexOf(`\n${QUESTION_MARK}`);
  return mark === -1 ? trimmed : trimmed.slice(mark + 1 + QUESTION_MARK.length).trim();
}

/** The question is the last user message without its context; the passages are those of all messages. */
export function readPrompt(messages: readonly ChatMessage[]): Prompt {
  let passages: ContextPassage[] | null = null;
  let question = '';
  for (const message of messages) {
    const read = readMessage(message.text);
    if (read.passages !== null) passages = [...(passages ?? []), ...read.passages];
    if (message.role !== 'user') continue;
    question = withoutMark(read.after) || withoutMark(read.before) || question;
  }
  return { question, passages };
}
