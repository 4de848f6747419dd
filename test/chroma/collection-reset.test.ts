// Resets that go wrong half-way, and healing while a reset runs: the build in use stays readable, and nobody loses rank 0 to
// his own process.

import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { ownerKey } from '../../src/chroma/ownership.ts';
import { RagmillError } from '../../src/errors.ts';
import { contents, create, drop, liveWorld, namesLike } from '../fakes/live-world.ts';
import { realChroma } from '../fakes/real-chroma.ts';
import type { smallCorpus } from '../fakes/small-corpus.ts';
import { until } from '../fakes/until.ts';

const chroma = await realChroma(t);

/** The second reading of the next build, which is the one that fills it, waits until it is let go on. */
function holdFilling(corpus: ReturnType<typeof smallCorpus>) {
  const filling = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const chunks = corpus.chunks.bind(corpus);
  let reads = 0;
  corpus.chunks = async function* () {
    reads += 1;
    if (reads === 2) {
      filling.resolve();
      await goOn.promise;
    }
    yield* chunks();
  };
  return { filling: filling.promise, goOn: goOn.resolve };
}

t.test('a reset whose last step fails is undone, and the next one takes nothing away', async (t) => {
  const { live, name, corpus, rankZero, ask } = await liveWorld(t, chroma);
  const { uuid } = live.current.record;
  const recordReady = rankZero.recordReady.bind(rankZero);
  rankZero.recordReady = () => Promise.reject(new RagmillError('storage_full', 'The disk is full.'));
  await live.reset();
  await until('the reset to fail', () => !live.isResetting);
  t.match(await ask(), { kind: 'success', collectionGeneration: 1 });
  t.equal(live.current.record.uuid, uuid);
  t.same(await namesLike(chroma, name), [name], 'the one in use has its name again, and the build is gone');
  rankZero.recordReady = recordReady;
  const held = holdFilling(corpus);
  await live.reset();
  await held.filling;
  t.match(await ask(), { kind: 'success', collectionGeneration: 1 });
  held.goOn();
  await until('the reset to end', () => !live.isResetting);
  t.match(await ask(), { kind: 'success', collectionGeneration: 2 });
});

t.test('where it cannot be undone either, the build in use is spared until the next is READY', async (t) => {
  const { live, name, corpus, proxy, rankZero, ask } = await liveWorld(t, chroma);
  const recordReady = rankZero.recordReady.bind(rankZero);
  rankZero.recordReady = () => {
    // From here on nothing can be looked up by name.
    proxy.onRequest = (path) =>
      path.includes(`/${name}`) ? { kind: 'answer', status: 503, body: '{}' } : { kind: 'pass' };
    return Promise.reject(new RagmillError('storage_full', 'The disk is full.'));
  };
  await live.reset();
  await until('the reset to fail', () => !live.isResetting);
  proxy.onRequest = () => ({ kind: 'pass' });
  rankZero.recordReady = recordReady;
  t.match(await namesLike(chroma, `${name}.`), [/retired$/], 'the one in use is retired');
  const held = holdFilling(corpus);
  await live.reset();
  await held.filling;
  t.match(await ask(), { kind: 'success', collectionGeneration: 1 });
  held.goOn();
  await until('the reset to end', () => !live.isResetting);
  t.match(await ask(), { kind: 'success', collectionGeneration: 2 });
  await until('it to be deleted', async () => (await namesLike(chroma, `${name}.`)).length === 0);
});

t.test('healing during a reset waits for it, instead of taking its rank away', async (t) => {
  const { live, bootstrap, name, corpus, generations, ask } = await liveWorld(t, chroma);
  const held = holdFilling(corpus);
  await live.reset();
  await held.filling;
  const records = await contents(chroma, name);
  await drop(chroma, name);
  await create(chroma, name, records, { [ownerKey]: 'store-a' });
  const asked = ask();
  await until('it to heal', () => live.isHealing);
  held.goOn();
  t.match(await asked, { kind: 'success', collectionGeneration: 2 });
  await until('the reset to end', () => !live.isResetting);
  t.match(bootstrap.state, { phase: 'ready', record: { generation: 2 } });
  t.same(generations, [2]);
  t.match(await ask(), { kind: 'success', collectionGeneration: 2 });
});

t.test('a stop ends the reading of a corpus, however large it is', async (t) => {
  for (const endlessRead of [1, 2]) {
    const { live, corpus } = await liveWorld(t, chroma);
    const chunks = corpus.chunks.bind(corpus);
    const reading = Promise.withResolvers<void>();
    let reads = 0;
    corpus.chunks = async function* () {
      reads += 1;
      const isEndless = reads === endlessRead;
      do {
        yield* chunks();
        if (isEndless) reading.resolve();
        await nextTurn();
      } while (isEndless);
    };
    await live.reset();
    await reading.promise;
    await live.stop();
    t.notOk(live.isResetting, `stopped in pass ${endlessRead}`);
  }
});
