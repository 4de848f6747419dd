// How the digest of a line has ended, with all that is told of it.

import type { TokenUsage } from '../domain/generation.ts';
import type { DigestDetails } from '../domain/record.ts';

/** `text` stands in the prompt in the place of the passages. Without it the question goes alone, or not at all. */
export type DigestEnding =
  | { readonly kind: 'success'; readonly text: string }
  | { readonly kind: 'soft_failure' | 'hard_failure'; readonly code: string; readonly message: string };

export type Digest = DigestEnding & {
  readonly attempts: number;
  /** The last endpoint that was asked; null: none. */
  readonly endpoint: string | null;
  /** The model that has answered, or the one that was asked for; null: nobody was. */
  readonly model: string | null;
  /** null: there was no answer. */
  readonly usage: TokenUsage | null;
  /** The server seems to have cut the passages to its context. */
  readonly isContextTruncated: boolean;
  /** Of the last call, in milliseconds. */
  readonly durationMs: number;
  readonly details: DigestDetails;
};
