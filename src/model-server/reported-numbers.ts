// Numbers that servers report of themselves. They come from outside: only whole ones of a size that can be are
// believed, all others count as not reported.

/** Beyond any context of any model. */
const CONTEXT_MAX_TOKENS = 1e8;
/** Beyond what any server runs or queues at a time; sums over thousands of ranks are still exact. */
const REQUESTS_MAX = 1e6;
/** Beyond any KV cache. */
const KV_MAX_TOKENS = 1e10;

/** A context of no tokens is how some servers say that they do not know it. */
export function reportedContext(value: unknown): number | null {
  return wholeNumber(value, 1, CONTEXT_MAX_TOKENS);
}

/** Requests that a server has in hand at this moment. */
export function reportedCount(value: unknown): number | null {
  return wholeNumber(value, 0, REQUESTS_MAX);
}

/** Requests that a server can have in hand. */
export function reportedLimit(value: unknown): number | null {
  return wholeNumber(value, 1, REQUESTS_MAX);
}

export function reportedKvTokens(value: unknown): number | null {
  return wholeNumber(value, 1, KV_MAX_TOKENS);
}

/** The sum of what was reported; null when nothing was. */
export function sumOfReported(values: readonly (number | null)[]): number | null {
  const reported = values.filter((value) => value !== null);
  return reported.length === 0 ? null : reported.reduce((sum, value) => sum + value, 0);
}

function wholeNumber(value: unknown, min: number, max: number): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : null;
}
