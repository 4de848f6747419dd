// Server-sent events as bytes. Source: WHATWG HTML, section 9.2 (server-sent events).

/** What a client waits before it connects again, in milliseconds. */
const RECONNECT_MS = 3_000;

/** Keeps proxies from closing a connection on which nothing happens, in milliseconds. */
export const EVENT_KEEP_ALIVE_MS = 15_000;

export const eventKeepAlive = Buffer.from(': keep-alive\n\n');

/** Stands once, at the beginning. */
export const eventOpening = Buffer.from(`retry: ${RECONNECT_MS}\n\n`);

export interface OutgoingEvent {
  /** What the client sends as Last-Event-ID when it connects again; null: it keeps the one before. */
  readonly id: string | null;
  readonly event: string;
  /** JSON, which has no line break of its own. */
  readonly data: string;
}

export function eventText({ id, event, data }: OutgoingEvent): string {
  // A line break would end the field, and the reader would take the rest for another one.
  if (/[\r\n]/.test(data)) throw new Error('the data of an event has a line break');
  return `${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`;
}
