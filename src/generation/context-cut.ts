// Makes a prompt shorter by what matters least: passages go from the end of the ranking, whole, and only a single one that
// is left is cut itself. Question, system prompt and template stay whole. The cut is a value that can be applied again.

import type { ContextCut, Passage } from '../domain/passage.ts';
import { buildRequestBody, type PromptTask, passageElement, type RequestBody } from './prompt.ts';
import { promptBytes } from './prompt-size.ts';

export interface Prompt {
  readonly body: RequestBody;
  /** null: all passages stand in it as they are. */
  readonly cut: ContextCut | null;
}

/** Less of a passage than this, in UTF-16 units, is not worth its place. */
const CHARACTERS_MIN = 100;
const NOTHING: ContextCut = { passages: 0, characters: null };

export function wholePrompt(task: PromptTask): Prompt {
  return { body: buildRequestBody(task), cut: null };
}

/** The prompt in at most so many bytes; null: not even without passages. */
export function promptWithin(task: PromptTask, maxBytes: number): Prompt | null {
  const whole = wholePrompt(task);
  const wholeBytes = promptBytes(whole.body);
  if (wholeBytes <= maxBytes) return whole;
  const bare = promptWithout(task);
  if (promptBytes(bare.body) > maxBytes) return null;
  const sizes = task.passages.map((passage) => Buffer.byteLength(passageElement(passage)));
  const around = wholeBytes - sizes.reduce((sum, size) => sum + size + 1, -1);
  const cut = fitting(task.passages, sizes, maxBytes - around);
  return cut.passages === 0 ? bare : { body: buildRequestBody(cutTask(task, cut)), cut };
}

/** The prompt without its passages. */
export function promptWithout(task: PromptTask): Prompt {
  return { body: buildRequestBody(cutTask(task, NOTHING)), cut: NOTHING };
}

/** The passages that a cut leaves. */
export function cutPassages(passages: readonly Passage[], cut: ContextCut | null): readonly Passage[] {
  if (cut === null) return passages;
  const kept = passages.slice(0, cut.passages);
  const last = kept.at(-1);
  if (last === undefined || cut.characters === null) return kept;
  return [...kept.slice(0, -1), { ...last, text: last.text.slice(0, cut.characters) }];
}

function cutTask(task: PromptTask, cut: ContextCut): PromptTask {
  return { ...task, passages: cutPassages(task.passages, cut) };
}

function fitting(passages: readonly Passage[], sizes: readonly number[], maxBytes: number): ContextCut {
  let bytes = -1;
  let count = 0;
  for (const size of sizes) {
    bytes += size + 1;
    if (bytes > maxBytes) break;
    count += 1;
  }
  const [first] = passages;
  if (count > 0 || first === undefined) return { passages: count, characters: null };
  const characters = fittingCharacters(first, maxBytes);
  return characters < CHARACTERS_MIN ? NOTHING : { passages: 1, characters };
}

/** The most of a passage's text, in UTF-16 units, that fits with its tag; halves of characters never. */
function fittingCharacters(passage: Passage, maxBytes: number): number {
  const sizeOf = (length: number) =>
    Buffer.byteLength(passageElement({ ...passage, text: passage.text.slice(0, length) }));
  let [fits, tooMany] = [0, passage.text.length + 1];
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (sizeOf(middle) <= maxBytes) fits = middle;
    else tooMany = middle;
  }
  return isLowSurrogate(passage.text.charCodeAt(fits)) ? fits - 1 : fits;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
