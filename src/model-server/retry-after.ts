// The Retry-After header in both of its forms, capped: a server may ask for patience, not for a day of silence.
// Source: RFC 9110, section 10.2.3.

/** The longest wait a server can ask for. */
export const RETRY_AFTER_MAX_MS = 300_000;

const SECONDS = /^\d{1,10}$/;
const STARTS_WITH_DAY_NAME = /^[A-Za-z]{3,9},? /;

/** Milliseconds to wait, or null when the header is missing or means nothing. */
export function parseRetryAfterMs(
  header: string | readonly string[] | undefined,
  nowMs: number,
): number | null {
  const value = (typeof header === 'object' ? header[0] : header)?.trim() ?? '';
  if (SECONDS.test(value)) return Math.min(Number(value) * 1000, RETRY_AFTER_MAX_MS);
  if (!STARTS_WITH_DAY_NAME.test(value)) return null;
  const atMs = Date.parse(value);
  if (Number.isNaN(atMs)) return null;
  return Math.min(Math.max(0, atMs - nowMs), RETRY_AFTER_MAX_MS);
}
