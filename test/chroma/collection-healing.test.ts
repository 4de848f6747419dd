// Healing that cannot succeed: how often it is tried, and how long it waits for others.

import pino from 'pino';
import t from 'tap';
import type { BoundCollection } from '../../src/chroma/bound-collection.ts';
import { type ChromaConnection, type ChromaResult, failure } from '../../src/chroma/chroma-client.ts';
import { healCollection } from '../../src/chroma/collection-healing.ts';
import { RebuildPace } from '../../src/chroma/rebuild-pace.ts';
import type { Embedder } from '../../src/domain/embedder.ts';
import { RagmillError } from '../../src/errors.ts';

const stale = {
  record: { generation: 1, uuid: 'old', name: 'docs', count: 5, fingerprint: 'f', readyAt: 1 },
  collection: {} as BoundCollection,
  embedder: {} as Embedder,
};

/** Healing where Chroma gives these answers, and every rebuild fails. Whoever sleeps moves the time. */
function setup(answer: () => ChromaResult<unknown>) {
  let nowMs = 0;
  const clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: async (ms: number) => {
      nowMs += ms;
    },
  };
  const seen = { rebuilds: 0 };
  const rebuild = async () => {
    seen.rebuilds += 1;
    throw new RagmillError('corpus_unreadable', 'The corpus is gone.');
  };
  const adopt = async () => stale;
  const pace = new RebuildPace(clock);
  const heal = () =>
    healCollection(stale, {
      connection: { call: async () => answer() } as unknown as ChromaConnection,
      bootstrap: { adopt, rebuild, rebuilding: null },
      ownerId: 'store-a',
      isAttached: false,
      isCondemned: false,
      pace,
      limits: { timeoutMs: 1_000 },
      clock,
      log: pino({ level: 'silent' }),
      signal: new AbortController().signal,
    });
  return { heal, seen, pace, clock };
}

t.test(
  'a rebuild that fails is tried more and more rarely, and at once when retrieval has worked',
  async (t) => {
    const { heal, seen, pace, clock } = setup(() => failure('not_found', 'no such collection'));
    const gone = { kind: 'failure', class: 'not_found', message: 'The corpus is gone.' };
    t.match(await heal(), gone);
    t.match(await heal(), gone, 'what is wrong is said all the same');
    t.equal(seen.rebuilds, 1);
    while (clock.monotonicMs() < 120_000) await heal();
    t.ok(seen.rebuilds >= 4 && seen.rebuilds <= 9, `${seen.rebuilds} in two minutes`);
    pace.reset();
    const before = seen.rebuilds;
    await heal();
    t.equal(seen.rebuilds, before + 1);
  },
);

t.test('one that keeps changing is not waited for without end', async (t) => {
  let calls = 0;
  const { heal, seen, clock } = setup(() => {
    calls += 1;
    // Found, then counted; and each time another count.
    return { kind: 'ok', value: calls % 2 === 1 ? { uuid: 'other', isOurs: true } : 1 + (calls % 4) };
  });
  await heal();
  t.equal(seen.rebuilds, 1);
  t.ok(clock.monotonicMs() >= 60_000, 'though it is given its time');
});
