// The Range header: which bytes of a finished answer a client asks for.
// Source: RFC 9110, section 14 (range requests) and 13.1.5 (If-Range).

export interface ByteRange {
  readonly first: number;
  /** Included. */
  readonly last: number;
}

/**
 * `whole`: there is no range that we serve; a header we do not understand, or one that asks for several ranges, is
 * answered as if it were not there. `unsatisfiable`: there is no such byte.
 */
export function selectRange(header: string | undefined, size: number): ByteRange | 'whole' | 'unsatisfiable' {
  const parts = /^bytes\s*=\s*(?:(\d+)-(\d*)|-(\d+))\s*$/i.exec(header ?? '');
  if (!parts) return 'whole';
  const [, first, last, suffix] = parts;
  if (first === undefined) {
    if (Number(suffix) === 0) return 'unsatisfiable';
    return size === 0 ? 'whole' : { first: Math.max(0, size - Number(suffix)), last: size - 1 };
  }
  if (last !== undefined && last !== '' && BigInt(last) < BigInt(first)) return 'whole';
  if (Number(first) >= size) return 'unsatisfiable';
  return { first: Number(first), last: Math.min(last ? Number(last) : size - 1, size - 1) };
}

/** Whether a part may be sent: what the client has is a part of the same bytes. A date never proves that. */
export function isRangeWelcome(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange.trim() === etag;
}

/** Whether the client has this already (If-None-Match). */
export function hasAlready(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  // A cache may have made the tag weak; for this comparison that does not matter.
  return [...ifNoneMatch.matchAll(/(?:W\/)?("[^"]*")/g)].some(([, tag]) => tag === etag);
}
