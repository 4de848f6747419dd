// Batches share what retrieval does, and nobody waits who need not.

import t from 'tap';
import type { Priority } from '../../src/domain/priority.ts';
import { RetrievalTurns } from '../../src/scheduler/retrieval-turns.ts';
import { leasedChunk } from '../fakes/work-fixtures.ts';

const turnsOfLoop = () => new Promise(setImmediate);

/** A retrieval that answers one question after the other, in the order in which they came. */
function setup() {
  const turns = new RetrievalTurns();
  const asked: { batch: string; answer: () => void }[] = [];
  const ended: string[] = [];
  const chunks = new Map<string, ReturnType<typeof leasedChunk>>();
  const ask = (batch: string, count: number, priority: Priority = 'normal') => {
    const chunk = { ...leasedChunk(batch), priority };
    chunks.set(batch, chunk);
    for (let line = 0; line < count; line += 1) {
      const retrieve = () => new Promise<void>((answer) => asked.push({ batch, answer }));
      void turns.run(chunk, retrieve).then(() => ended.push(batch));
    }
  };
  const answer = async (count: number) => {
    for (let one = 0; one < count; one += 1) {
      asked.shift()?.answer();
      await turnsOfLoop();
    }
  };
  return { ask, asked, answer, ended, chunks };
}

t.test('a small batch is asked for next, whatever a huge one has waiting', async (t) => {
  const { ask, asked, answer, ended } = setup();
  ask('huge', 1_000);
  const inside = asked.length;
  t.ok(inside < 200, `${inside} are asked for at a time`);
  ask('small', 20);
  await answer(inside + 45);
  t.equal(ended.filter((batch) => batch === 'small').length, 20);
  t.equal(asked.length, inside, 'as many as before are asked for');
});

t.test('by priority', async (t) => {
  const { ask, answer, ended, asked } = setup();
  ask('first', 200);
  const inside = asked.length;
  ask('low', 300, 'low');
  ask('high', 300, 'high');
  await answer(inside + 100);
  const count = (wanted: string) => ended.filter((batch) => batch === wanted).length;
  t.ok(count('high') > 3 * count('low'), `${count('high')} of high priority, ${count('low')} of low`);
  t.ok(count('low') > 0);
});

t.test('what is to wait no longer does not, and takes nobody’s place for good', async (t) => {
  const { ask, asked, answer, ended, chunks } = setup();
  ask('a', 300);
  ask('b', 50);
  const inside = asked.length;
  chunks.get('b')?.retrieving.abort();
  await turnsOfLoop();
  t.equal(asked.filter(({ batch }) => batch === 'b').length, 50, 'all of it is let go at once');
  await answer(350);
  t.equal(ended.length, 350);
  ask('c', 300);
  t.equal(asked.length, inside);
  await answer(300);
  t.equal(ended.length, 650);
});
