// Finds the question and the passages in the messages of a request. The context block and its escaping are those of
// ragmill's own prompt; it may stand in any message and among other text.

export interface ChatMessage {
  readonly role: string;
  readonly text: string;
}

export interface ContextPassage {
  /** What an answer cites it by; empty where it has none. */
  readonly label: string;
  readonly title: string;
  readonly text: string;
}

export interface Prompt {
  readonly question: string;
  /** The system prompt asks for citations. */
  readonly isCitationAsked: boolean;
  /** Null where no message has a context block; empty where the block has no passage. */
  readonly passages: readonly ContextPassage[] | null;
}

const CONTEXT_OPEN = /<context>(?=\s*<passage |\s*<digest>|\s*<\/context>)/;
const CONTEXT_CLOSE = '</context>';
const PASSAGE_OPEN = /<passage ([^<>]*)>\r?\n?/y;
const PASSAGE_CLOSE = '</passage>';
const LABEL = /\bid="([^"]*)"/;
const TITLE = /\btitle="([^"]*)"/;
const QUESTION_MARK = 'Question:';
/** What a RAG model wrote, in the place of the passages. */
const DIGEST = /<digest>\r?\n?([\s\S]*?)<\/digest>/;

/** Text that looked like a tag of the fence, or like a special token, came broken up by a dot; all other text came as it was. */
const BREAK = /(?<=[<＜﹤[［]|&lt;)·/giu;
/** As other programs escape the fence. */
const ESCAPED_FENCE = /&lt;(?=\s*(?:\/\s*)?(?:passage|context|digest))/gi;
const ATTRIBUTE_ENTITIES: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&amp;': '&',
};

function readAttribute(attributes: string, name: RegExp): string {
  const value = name.exec(attributes)?.[1] ?? '';
  const plain = value.replace(/&(?:lt|gt|quot|amp);/g, (entity) => ATTRIBUTE_ENTITIES[entity] ?? entity);
  return plain.replace(BREAK, '');
}

function plainText(text: string): string {
  return text.replace(ESCAPED_FENCE, '<').replace(BREAK, '');
}

function readPassages(block: string): ContextPassage[] {
  const passages: ContextPassage[] = [];
  const digest = DIGEST.exec(block)?.[1];
  if (digest !== undefined) passages.push({ label: '', title: '', text: plainText(digest) });
  let at = block.indexOf('<passage ');
  while (at !== -1) {
    PASSAGE_OPEN.lastIndex = at;
    const opening = PASSAGE_OPEN.exec(block);
    const start = at + (opening?.[0].length ?? 1);
    const close = block.indexOf(PASSAGE_CLOSE, start);
    const end = close === -1 ? block.length : close;
    if (opening !== null) {
      const [, attributes = ''] = opening;
      const text = plainText(block.slice(start, end));
      passages.push({
        label: readAttribute(attributes, LABEL),
        title: readAttribute(attributes, TITLE),
        text,
      });
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

/** Words of a system prompt that ask for citations by id. */
const CITATION_ASKED = /\bcite\b[\s\S]{0,200}\bid\b/i;

/** The question is the last user message without its context; the passages are those of all messages. */
export function readPrompt(messages: readonly ChatMessage[]): Prompt {
  let passages: ContextPassage[] | null = null;
  let question = '';
  let isCitationAsked = false;
  for (const message of messages) {
    if (message.role === 'system') isCitationAsked ||= CITATION_ASKED.test(message.text);
    const read = readMessage(message.text);
    if (read.passages !== null) passages = [...(passages ?? []), ...read.passages];
    if (message.role !== 'user') continue;
    question = withoutMark(read.after) || withoutMark(read.before) || question;
  }
  return { question, passages, isCitationAsked };
}
