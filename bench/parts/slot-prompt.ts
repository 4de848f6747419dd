// A chat request as a simulated model server sees it: its prompt cut into blocks, as servers cut it for their prefix
// caches, and its question. Tokens are counted by characters: no tokenizer runs.

export interface Prompt {
  /** Whole blocks from the beginning on. What is left over behind them is never cached. */
  readonly blocks: readonly string[];
  readonly tokens: number;
  /** The last line of the last message, which is what differs from request to request. */
  readonly question: string;
}

interface Message {
  readonly role: string;
  readonly content: unknown;
}

/** As vLLM's blocks of 16 tokens. */
export const BLOCK_TOKENS = 16;
const CHARACTERS_A_TOKEN = 4;
const BLOCK_CHARACTERS = BLOCK_TOKENS * CHARACTERS_A_TOKEN;
const QUESTION_LABEL = 'Question: ';

export function promptOf(messages: readonly Message[]): Prompt {
  const text = messages.map(({ role, content }) => `<${role}>\n${String(content)}\n`).join('');
  const last = String(messages.at(-1)?.content ?? '');
  const line = last.slice(last.lastIndexOf('\n') + 1);
  return {
    blocks: blocksOf(text),
    tokens: Math.ceil(text.length / CHARACTERS_A_TOKEN),
    question: line.startsWith(QUESTION_LABEL) ? line.slice(QUESTION_LABEL.length) : line,
  };
}

/** The last token is always computed, therefore never the whole text. */
function blocksOf(text: string): string[] {
  const count = Math.floor((text.length - 1) / BLOCK_CHARACTERS);
  return Array.from({ length: count }, (_, at) =>
    text.slice(at * BLOCK_CHARACTERS, (at + 1) * BLOCK_CHARACTERS),
  );
}
