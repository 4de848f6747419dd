// The two forms of a stream of results. A record's JSON stands in both as it is stored.

import type { ResultView } from './result-query.ts';
import type { PageFormat, ResultsEnd } from './result-stream.ts';
import { EVENT_KEEP_ALIVE_MS, eventKeepAlive, eventOpening, eventText } from './server-sent-events.ts';

export interface ResultForm {
  readonly contentType: string;
  readonly opening: Buffer | null;
  readonly page: PageFormat;
  /** Sent when nothing else was for `keepAliveMs`; null: never, unless the client asks for it. */
  readonly keepAlive: Buffer;
  readonly keepAliveMs: number | null;
  readonly ending: ((end: ResultsEnd) => Buffer) | null;
}

export const ndjsonForm: ResultForm = {
  contentType: 'application/x-ndjson',
  opening: null,
  page: (records) => Buffer.from(records.map((record) => `${record.body}\n`).join('')),
  keepAlive: Buffer.from('\n'),
  keepAliveMs: null,
  ending: null,
};

export const eventForm: ResultForm = {
  contentType: 'text/event-stream',
  opening: eventOpening,
  page: (records, view) =>
    Buffer.from(
      records
        .map((record) => eventText({ id: cursorOf(record, view), event: 'result', data: record.body }))
        .join(''),
    ),
  keepAlive: eventKeepAlive,
  keepAliveMs: EVENT_KEEP_ALIVE_MS,
  // With the cursor behind everything, so that a client that connects again is told that there is no more.
  ending: ({ cursor, status, lastSeq }) =>
    Buffer.from(
      eventText({
        id: String(cursor),
        event: 'end',
        data: JSON.stringify({ status, last_seq: lastSeq }),
      }),
    ),
};

function cursorOf(record: { readonly seq: number; readonly line: number }, view: ResultView): string {
  return String(view.order === 'input' ? record.line : record.seq);
}
