// The end of a request at an endpoint, with what it means for the line.

import type { GenerationOutcome } from '../domain/generation.ts';
import type { RefusalVerdict } from './refusals.ts';

/** A request that ran, and what its end means. */
export interface Ended {
  readonly kind: 'ended';
  readonly outcome: GenerationOutcome;
  /** true: the endpoint was dying under it, which is no fault of the line. */
  readonly isInnocent: boolean | Promise<boolean>;
  /** Whether a refusal is the last word; null: it was none. */
  readonly verdict: Promise<RefusalVerdict> | null;
}
