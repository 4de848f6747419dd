// What a campaign counts. Each prints its figures as one TAP comment, which the runner (run.ts) gathers.

import type { Test } from 'tap';

export interface Figures {
  rounds: number;
  kills: number;
  linesAcknowledged: number;
  batchesAcknowledged: number;
  /** Calls of lines that had no record at a kill: what was asked again afterwards, one entry a kill. */
  repeatedCalls: number[];
  /** From the start of a process after a kill to its readiness, in milliseconds. */
  readyMs: number[];
  /** From the start of a process after a kill to the first new result, in milliseconds. */
  recoveryMs: number[];
  histories: number;
  commands: number;
}

export function noFigures(): Figures {
  return {
    rounds: 0,
    kills: 0,
    linesAcknowledged: 0,
    batchesAcknowledged: 0,
    repeatedCalls: [],
    readyMs: [],
    recoveryMs: [],
    histories: 0,
    commands: 0,
  };
}

export const FIGURES_PREFIX = 'chaos figures: ';

export function printFigures(t: Test, figures: Figures): void {
  t.comment(`${FIGURES_PREFIX}${JSON.stringify(figures)}`);
}
