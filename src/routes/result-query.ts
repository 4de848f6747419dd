// What a client can ask of the results of a batch.

import { type Static, Type } from 'typebox';
import { RagmillError } from '../errors.ts';
import { type Included, parseInclude } from './result-include.ts';

export const resultsQuery = Type.Object(
  {
    after: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      default: 0,
      description: 'Results above this seq; with `order=input`, above this line number.',
    }),
    follow: Type.Boolean({
      default: true,
      description: '`true`: stay until the batch has ended; `false`: what is there now.',
    }),
    order: Type.Enum(['completion', 'input'], {
      default: 'completion',
      description: '`input`: by line number. Following, it waits at the first line without a result.',
    }),
    status: Type.Optional(
      Type.Enum(['succeeded', 'failed'], { description: '`failed`: everything that did not succeed.' }),
    ),
    latest: Type.Boolean({
      default: false,
      description:
        'Only the current result of each line: its last success, else its last result. `status` and `order=input` imply it.',
    }),
    include: Type.Optional(
      Type.String({
        description:
          'What to add to each result: `query`, `passages` (with their text), or both with a comma.',
      }),
    ),
    heartbeat: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 300,
        description: 'A blank line (with events: a comment) after so many seconds without a result.',
      }),
    ),
  },
  { additionalProperties: false },
);

/** Which records of a batch, and in which order. */
export interface ResultView {
  /** Cursor: a seq, or with `order: 'input'` a line number. */
  readonly after: number;
  readonly order: 'completion' | 'input';
  /** `failed`: everything that did not succeed. */
  readonly status: 'succeeded' | 'failed' | null;
  /** Only the current record of each line. */
  readonly currentOnly: boolean;
  /** What is added to each record. */
  readonly include: ReadonlySet<Included>;
}

export function toView(query: Static<typeof resultsQuery>, after: number): ResultView {
  const { order, status, latest } = query;
  return {
    after,
    order,
    status: status ?? null,
    currentOnly: latest || order === 'input' || status !== undefined,
    include: parseInclude(query.include),
  };
}

/** The whole log as it was written: its bytes never change, so parts of it can be asked for by their place. */
export function isPlain(view: ResultView): boolean {
  return !view.currentOnly && view.include.size === 0;
}

/** The cursor that a client of server-sent events sends when it connects again; null: it sends none. */
export function lastEventCursor(header: string | string[] | undefined): number | null {
  if (header === undefined) return null;
  const cursor = /^\d{1,15}$/.test(String(header)) ? Number(header) : Number.NaN;
  if (Number.isSafeInteger(cursor)) return cursor;
  throw new RagmillError('bad_request', 'The header "Last-Event-ID" is no id of these results.');
}
