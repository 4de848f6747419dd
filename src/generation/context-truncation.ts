// Tells when a server has cut the prompt to its context without saying so, and answered from the rest. Ollama does:
// it drops the oldest messages first, and then cuts the last one to the context, or to about half of it; the
// answer has status 200. What gives it away is that it counted fewer tokens than the prompt must have.
//
// That has to hold for text in any language and any tokenizer, so nothing is guessed from bytes: a token of plain
// English has four of them, one of Hindi ten or more. Counted are the tokens that no tokenizer in use can do without. None of
// them joins words across a space, or a word with the sign after it; of the scripts that have no spaces, even
// large vocabularies need more tokens than assumed here. In English that makes five sixths of the true number, and
// in no text that was tried more than all of it, with the tokenizers of GPT-4o, Gemma 3, Llama 2 and 3, and Qwen 3.
//
// 1. A count that is missing proves nothing, and one above the context says that the context is not what we think.
// 2. A prompt that cannot fit, by the least it can have, did not; whatever was counted.
// 3. A count that fills the context to the brim is a cut prompt, or one that leaves no room for an answer, which
//    Ollama makes by dropping some of the prompt.
// 4. Near the context, a count that is too small for the text is that of a cut prompt. Further below it proves
//    nothing: an old Ollama does not count what it had cached. Those that tell their context count everything.
// 5. Where the context is not known, only a long prompt is judged, whose count is too small for the text and
//    exactly a context that people set or Ollama defaults to, a power of two.
//
// Messages of the assistant are left out: templates drop reasoning from them. Servers that refuse long prompts, as
// SGLang, vLLM and llama.cpp do, are not judged.

import type { ChatMessage } from '../domain/line.ts';
import type { ServerKind } from '../domain/server-kind.ts';

export interface CountedPrompt {
  readonly serverKind: ServerKind;
  /** null: not known. */
  readonly contextTokens: number | null;
  readonly messages: readonly ChatMessage[];
  /** As the server counted them. */
  readonly promptTokens: number | null;
}

/** In parts of the context: the least that a prompt has which the context may have been too small for. */
const NEAR_CONTEXT = 0.8;
/** In parts of the least that the prompt has: a smaller count is no matter of a few tokens more or less. */
const TOO_SMALL = 0.8;
/** Where the context is not known, shorter prompts are not judged; it is the smallest context that Ollama defaulted to. */
const LONG_PROMPT_TOKENS = 2_048;

export function isContextTruncated({
  serverKind,
  contextTokens,
  messages,
  promptTokens,
}: CountedPrompt): boolean {
  if (serverKind !== 'ollama' && serverKind !== 'generic') return false;
  if (promptTokens === null || promptTokens === 0) return false;
  const texts = messages.flatMap(textsOf);
  if (contextTokens === null) {
    return serverKind === 'ollama' && isPowerOfTwo(promptTokens) && isCutLongPrompt(texts, promptTokens);
  }
  if (promptTokens > contextTokens || !canReach(texts, contextTokens * NEAR_CONTEXT)) return false;
  if (promptTokens >= contextTokens - 1) return true;
  const least = leastTokens(texts);
  if (least > contextTokens) return true;
  return serverKind === 'ollama' && least > contextTokens * NEAR_CONTEXT && promptTokens < least * TOO_SMALL;
}

function isCutLongPrompt(texts: readonly string[], promptTokens: number): boolean {
  if (promptTokens < LONG_PROMPT_TOKENS) return false;
  return promptTokens < leastTokens(texts) * TOO_SMALL;
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}

/** Spares the counting: no text has more tokens that it cannot do without than it has characters. */
function canReach(texts: readonly string[], tokens: number): boolean {
  return texts.reduce((sum, text) => sum + text.length, 0) >= tokens;
}

/** Scripts that put no space between words, each with the least of tokens that a character of ordinary text takes. */
const CHINESE_OR_JAPANESE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu;
const SOUTH_EAST_ASIAN = /[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/gu;
const CHINESE_OR_JAPANESE_TOKENS = 0.4;
const SOUTH_EAST_ASIAN_TOKENS = 1 / 6;

/**
 * One match for each word, with the signs right before it; each number; and all other signs in a row. Some tokenizers
 * take a sign and the word after it together, or an apostrophe and what follows it.
 */
const WORDS_AND_SIGNS = new RegExp(
  [
    String.raw`[^\s\p{L}\p{M}\p{N}]*${letter()}[${letter()}\p{M}'’]*`,
    String.raw`\p{N}+`,
    String.raw`[^\s\p{L}\p{M}\p{N}]+`,
  ].join('|'),
  'gv',
);

function letter(): string {
  const withoutSpaces = ['Han', 'Hiragana', 'Katakana', 'Thai', 'Lao', 'Khmer', 'Myanmar'];
  return String.raw`[\p{L}--[${withoutSpaces.map((script) => String.raw`\p{Script=${script}}`).join('')}]]`;
}

/** The number of tokens that these texts have at least, in any tokenizer. */
export function leastTokens(texts: readonly string[]): number {
  let tokens = 0;
  for (const text of texts) {
    tokens += countOf(text, WORDS_AND_SIGNS);
    tokens += countOf(text, CHINESE_OR_JAPANESE) * CHINESE_OR_JAPANESE_TOKENS;
    tokens += countOf(text, SOUTH_EAST_ASIAN) * SOUTH_EAST_ASIAN_TOKENS;
  }
  return tokens;
}

function countOf(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}

function textsOf({ role, content }: ChatMessage): string[] {
  if (role === 'assistant') return [];
  if (typeof content === 'string') return [content];
  return Array.isArray(content) ? content.flatMap(textOfPart) : [];
}

function textOfPart(part: unknown): string[] {
  const text = typeof part === 'object' && part !== null && 'text' in part ? part.text : null;
  return typeof text === 'string' ? [text] : [];
}
