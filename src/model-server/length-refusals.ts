// Tells a refusal of a prompt for its length from the others, and reads the numbers out of its words: each server has its
// own, and some have none.

import type { FailureClass, LengthRefusal } from '../domain/failure.ts';
import type { ServerWords } from './server-words.ts';

const TOO_LONG_TYPE = /context_length_exceeded|exceed_context_size/i;
const TOO_LONG =
  /too large to process|larger than the max context size|exceeds? (?:the |its )?(?:available |maximum |model'?s? )*context|longer than the (?:model's )?(?:context length|maximum model length)|maximum context length is|(?:inputs?|prompt)(?: length)?[^.]{0,60} exceeds? (?:the )?max/i;

const CONTEXT_TOKENS = [
  // vLLM, SGLang, llama.cpp, OpenAI: "maximum context length is 4096", "context length (8192", "context size (1024".
  /context (?:length|size|window)(?: is| of| \()? ?(\d{1,9})/i,
  /maximum model length of (\d{1,9})/i,
];
const PROMPT_TOKENS = [
  /\b(\d{1,9}) (?:tokens )?(?:in|from) (?:the|your) (?:input )?(?:messages|prompt)/i,
  /\b(\d{1,9}) input tokens/i,
  /(?:input|prompt|request) \((?:length )?(\d{1,9})/i,
  /resulted in (\d{1,9}) tokens/i,
];

/** Whether a text says so. */
export function saysTooLong({ type, message }: ServerWords): boolean {
  return TOO_LONG_TYPE.test(type) || TOO_LONG.test(message);
}

/** null: it was refused for something else, or is no refusal. */
export function lengthRefusal(failureClass: FailureClass, words: ServerWords): LengthRefusal | null {
  if (failureClass !== 'request' || !saysTooLong(words)) return null;
  return {
    contextTokens: numberIn(words.message, CONTEXT_TOKENS),
    promptTokens: numberIn(words.message, PROMPT_TOKENS),
  };
}

function numberIn(message: string, patterns: readonly RegExp[]): number | null {
  for (const pattern of patterns) {
    const number = Number(pattern.exec(message)?.[1]);
    if (number > 0) return number;
  }
  return null;
}
