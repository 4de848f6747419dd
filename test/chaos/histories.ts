// F3: many histories, generated, run and, when one fails, shrunk. CHAOS_SEED and CHAOS_PATH run a failed one again.

import fc from 'fast-check';
import type { Figures } from './figures.ts';
import { runHistory } from './history.ts';
import { history } from './history-steps.ts';
import type { Surroundings } from './surroundings.ts';

export interface HistoriesOptions {
  readonly count: number;
  readonly stepsMax: number;
  /** With shrinking, where there is something to shrink. */
  readonly limitMs: number;
  readonly figures: Figures;
}

export async function runHistories(
  surroundings: Surroundings,
  { count, stepsMax, limitMs, figures }: HistoriesOptions,
): Promise<void> {
  const { CHAOS_SEED: seed, CHAOS_PATH: path } = process.env;
  await fc.assert(
    fc.asyncProperty(history(stepsMax), (steps) => runHistory(surroundings, steps, figures)),
    {
      numRuns: count,
      ...(seed === undefined ? {} : { seed: Number(seed) }),
      ...(path === undefined ? {} : { path, endOnFailure: true }),
      // Shrinking runs the service again and again: what has been found by then is printed.
      interruptAfterTimeLimit: limitMs,
      includeErrorInReport: true,
    },
  );
}
