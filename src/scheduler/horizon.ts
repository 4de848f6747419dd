// How far ahead of the endpoints lines are claimed and retrieved: the more lines are known, the more of them are found to
// share passages, and the more memory they take.

import { CHUNK_LINES } from '../domain/chunk.ts';

/** Of uploaded lines and of passages in hand, not counting that lines share them. */
export const HORIZON_BYTES = 128 * 1024 * 1024;
/** Lines that wait for retrieval at a time: a small batch waits behind so many lines of a huge one, and not behind its horizon. */
export const RETRIEVING_MAX = 2 * CHUNK_LINES;

const LINES_MIN = 4_096;
const LINES_MAX = 20_000;
/** As a multiple of what the endpoints run at once. */
const PER_SLOT = 2;
/** Of the endpoints' time. */
const SECONDS = 120;

/** For a stage whose endpoints run so many requests at once, and so many a second. */
export function horizonLines(slots: number, linesPerSecond: number): number {
  const wanted = Math.max(slots * PER_SLOT, Math.ceil(linesPerSecond * SECONDS));
  return Math.min(LINES_MAX, Math.max(LINES_MIN, wanted));
}
