// The label of a passage: what stands in its tag in the prompt, and what an answer cites. It depends on the passage alone,
// never on its rank or on the line: else prompts with the same passages would not begin alike.
//
// 1. It survives being copied by a model: no spaces, brackets, quotes, commas or marks of Markdown, and it is short.
// 2. An ordinary id is its own label: `guide/setup.md#3` is chunk 3 of guide/setup.md.
// 3. Any other id is made to fit and gets a part of its hash, so that different ids have different labels.

import { hash } from 'node:crypto';
import type { Passage } from '../domain/passage.ts';

const ID_MAX_LENGTH = 64;
/** Of an id that is made to fit: its end says more than its beginning, which is often a folder. */
const KEPT_LENGTH = 40;
const HASH_LENGTH = 8;

const PLAIN = String.raw`[[\p{L}\p{M}\p{N}]--\p{Default_Ignorable_Code_Point}]`;
const ORDINARY_ID = new RegExp(`^(?:${PLAIN}|[._~\\/:@+=#'\\-])+$`, 'v');
const OTHERS = new RegExp(`(?:(?!${PLAIN})[^._\\-])+`, 'gv');
/** Looks like an id that was made to fit. */
const HASHED = new RegExp(`~[0-9a-f]{${HASH_LENGTH}}$`);

/** The form of all labels, for finding those that no passage has. */
export const LOOKS_LIKE_LABEL = /^[^\s,;[\]()<>"`]{1,120}#\d{1,9}$/u;

export function passageLabel({ documentId, chunk }: Pick<Passage, 'documentId' | 'chunk'>): string {
  return `${isOrdinary(documentId) ? documentId : madeToFit(documentId)}#${chunk}`;
}

function isOrdinary(id: string): boolean {
  return id.length <= ID_MAX_LENGTH && ORDINARY_ID.test(id) && !HASHED.test(id) && id === id.normalize('NFC');
}

function madeToFit(id: string): string {
  const kept = id.toWellFormed().normalize('NFC').slice(-KEPT_LENGTH).toWellFormed();
  return `${kept.replace(OTHERS, '_')}~${hash('sha256', id, 'hex').slice(0, HASH_LENGTH)}`;
}
