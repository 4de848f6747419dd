// What a history is made of (F3): steps as plain data, so that they print, shrink and run again. A step names its batch
// by a number that is taken modulo what there is: it means something whatever was left out before it.

import fc from 'fast-check';
import type { Request } from './known-batch.ts';

export interface UploadStep {
  readonly do: 'upload';
  readonly good: number;
  readonly refused: number;
  readonly bad: number;
  readonly duplicates: number;
  readonly options: Readonly<Record<string, string>>;
  readonly hasKey: boolean;
}

type Change = { readonly do: 'change'; readonly batch: number } & (
  | { readonly request: Exclude<Request, 'retry'> }
  | { readonly request: 'retry'; readonly filter: Readonly<Record<string, unknown>> | null }
);

/** What may be cut short by a kill. */
export type Killable =
  | UploadStep
  | Change
  /** The same upload under the same key again, or another one under the key. */
  | { readonly do: 'again'; readonly upload: number; readonly isSame: boolean };

export type Step =
  | (Killable & { readonly killAfterMs: number | null })
  /** The connection breaks after part of the body. */
  | { readonly do: 'cut'; readonly lines: number; readonly share: number }
  | { readonly do: 'poll'; readonly batch: number }
  | { readonly do: 'list' }
  | {
      readonly do: 'read';
      readonly batch: number;
      readonly share: number;
      readonly query: Readonly<Record<string, string>>;
    }
  /** The model server refuses the lines that are made to be refused, or takes them. */
  | { readonly do: 'refuse'; readonly isRefusing: boolean }
  | { readonly do: 'work'; readonly forMs: number }
  /** Until the batch has finished or pauses: nothing stands in its way. */
  | { readonly do: 'settle'; readonly batch: number }
  | { readonly do: 'expire' }
  | { readonly do: 'kill' }
  | { readonly do: 'terminate' };

const batch = fc.nat(5);
/** Mostly none; else soon enough to hit the step itself. */
const killAfterMs = fc.oneof(
  { weight: 9, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 25 }) },
);

const options: fc.Arbitrary<Readonly<Record<string, string>>> = fc.oneof(
  { weight: 5, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.constant({ on_invalid: 'reject' }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 12 }).map((after) => ({ pause_after: String(after) })) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 }).map((most) => ({ max_failures: String(most) })) },
  { weight: 1, arbitrary: fc.constantFrom('1s', '2s').map((time) => ({ completion_window: time })) },
);

const upload = fc.record({
  do: fc.constant('upload' as const),
  good: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 40 }) },
    { weight: 1, arbitrary: fc.constantFrom(256, 257, 300) },
  ),
  refused: fc.nat(5),
  bad: fc.nat(3),
  duplicates: fc.nat(2),
  options,
  hasKey: fc.boolean(),
  killAfterMs,
});

const filter = fc.oneof(
  { weight: 3, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constantFrom({ status: ['failed'] }, { status: ['cancelled', 'expired'] }) },
  { weight: 1, arbitrary: fc.constantFrom({ status: ['succeeded'] }, { code: 'generation_rejected' }) },
  {
    weight: 1,
    arbitrary: fc
      .uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 })
      .map((lines) => ({ custom_ids: lines.map((line) => `q${line}`) })),
  },
);

const change = (request: Exclude<Request, 'retry'>) =>
  fc.record({
    do: fc.constant('change' as const),
    batch,
    request: fc.constant(request),
    killAfterMs,
  });

const retry = fc.record({
  do: fc.constant('change' as const),
  batch,
  request: fc.constant('retry' as const),
  filter,
  killAfterMs,
});

const read = fc.record({
  do: fc.constant('read' as const),
  batch,
  share: fc.double({ min: 0, max: 1, noNaN: true }),
  query: fc.constantFrom<Readonly<Record<string, string>>[]>(
    { follow: 'false' },
    { follow: 'true' },
    { follow: 'false', order: 'input' },
    { follow: 'true', order: 'input' },
    { follow: 'false', status: 'failed' },
    { follow: 'false', latest: 'true' },
  ),
});

const cut = fc.record({
  do: fc.constant('cut' as const),
  lines: fc.integer({ min: 1, max: 300 }),
  share: fc.double({ min: 0, max: 0.99, noNaN: true }),
});

const again = fc.record({
  do: fc.constant('again' as const),
  upload: fc.nat(20),
  isSame: fc.boolean(),
  killAfterMs,
});

const plain = <T extends Step['do']>(name: T) => fc.record({ do: fc.constant(name) });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: upload },
  { weight: 2, arbitrary: cut },
  { weight: 3, arbitrary: again },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('poll' as const), batch }) },
  { weight: 1, arbitrary: plain('list') as fc.Arbitrary<Step> },
  { weight: 6, arbitrary: read },
  { weight: 3, arbitrary: change('pause') },
  { weight: 3, arbitrary: change('resume') },
  { weight: 3, arbitrary: change('cancel') },
  { weight: 6, arbitrary: retry },
  { weight: 2, arbitrary: change('delete') },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('refuse' as const), isRefusing: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('work' as const), forMs: fc.integer({ min: 1, max: 120 }) }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('settle' as const), batch }) },
  { weight: 1, arbitrary: plain('expire') as fc.Arbitrary<Step> },
  { weight: 3, arbitrary: plain('kill') as fc.Arbitrary<Step> },
  { weight: 1, arbitrary: plain('terminate') as fc.Arbitrary<Step> },
);

export function history(stepsMax: number): fc.Arbitrary<Step[]> {
  return fc.array(step, { minLength: 1, maxLength: stepsMax, size: 'max' });
}
