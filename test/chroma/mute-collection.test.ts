// A collection that is there and complete, and finds nothing: an outage, healed by building it anew.

import t from 'tap';
import { liveWorld } from '../fakes/live-world.ts';
import { realChroma } from '../fakes/real-chroma.ts';
import { until } from '../fakes/until.ts';

const chroma = await realChroma(t);
const mute = { kind: 'answer', status: 500, body: '{"message":"Nothing found on disk"}' } as const;

t.test('a collection that lastingly finds nothing is built anew while questions wait', async (t) => {
  const { proxy, live, generations, ask } = await liveWorld(t, chroma);
  const { uuid } = live.current.record;
  proxy.onRequest = (path) => (path.endsWith(`${uuid}/query`) ? mute : { kind: 'pass' });
  const asked = ask();
  await until('the outage to be noticed', () => live.outage !== null);
  t.match(live.outage, { dependency: 'collection' });
  t.match(await asked, { kind: 'success', attempts: 1, collectionGeneration: 2 });
  t.same(generations, [2]);
  t.equal(live.outage, null);
});

t.test('one that answers again by then is left as it is', async (t) => {
  const { proxy, live, generations, ask } = await liveWorld(t, chroma);
  proxy.onRequest = (path) => (path.endsWith('/query') ? mute : { kind: 'pass' });
  const asked = ask();
  await until('the outage to be noticed', () => live.outage !== null);
  proxy.onRequest = () => ({ kind: 'pass' });
  t.match(await asked, { kind: 'success', attempts: 1, collectionGeneration: 1 });
  t.same(generations, []);
});
