// Which of the two forms of a stream a client asks for in its Accept header.
// Source: RFC 9110, section 12.5.1 (Accept) and 12.4.2 (quality values).

interface Preference {
  /** 0: not wanted; 1: wanted most. */
  readonly quality: number;
  /** 2: named in full; 1: by its first half; 0: by a star, or not at all. */
  readonly precision: number;
}

const QUALITY = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;

/**
 * Whether server-sent events are wanted rather than NDJSON. NDJSON is what is served unless the client prefers
 * events; of two that are wanted alike, the one that the client names more exactly.
 */
export function prefersEventStream(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  const events = preferenceFor(accept, ['text/event-stream', 'text/*', '*/*']);
  const lines = preferenceFor(accept, ['application/x-ndjson', 'application/*', '*/*']);
  if (events.quality === 0 || events.quality < lines.quality) return false;
  return events.quality > lines.quality || events.precision > lines.precision;
}

/** `names`: the type as media ranges, the most exact one first; the first that the header has counts. */
function preferenceFor(accept: string, names: readonly [string, string, string]): Preference {
  const qualities = new Map(accept.split(',').map(parseRange));
  for (const [index, name] of names.entries()) {
    const quality = qualities.get(name);
    if (quality !== undefined) return { quality, precision: 2 - index };
  }
  return { quality: 0, precision: 0 };
}

/** A media range without its parameters, and its quality; one that is malformed is not wanted. */
function parseRange(item: string): [range: string, quality: number] {
  const [range = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase());
  const quality = parameters.find((parameter) => /^q\s*=/.test(parameter))?.replace(/^q\s*=\s*/, '') ?? '1';
  return [range, QUALITY.test(quality) ? Number(quality) : 0];
}
