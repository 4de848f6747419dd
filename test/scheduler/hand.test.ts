import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { Hand } from '../../src/scheduler/hand.ts';
import type { LeasedChunk } from '../../src/scheduler/work.ts';
import { leasedChunk } from '../fakes/work-fixtures.ts';

t.test('its counts are those of the chunks in it, whatever comes and goes', async () => {
  const steps = fc.array(
    fc.record({
      kind: fc.constantFrom('add', 'finish', 'finish', 'remove', 'removeAgain'),
      batch: fc.constantFrom('a', 'b'),
      lines: fc.integer({ min: 1, max: 5 }),
      which: fc.nat(100),
    }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(steps, (sequence) => {
      const hand = new Hand(1, () => {});
      let inside: LeasedChunk[] = [];
      const gone: LeasedChunk[] = [];
      for (const { kind, batch, lines, which } of sequence) {
        const chosen = inside[which % Math.max(1, inside.length)];
        const lost = gone[which % Math.max(1, gone.length)];
        if (kind === 'add') {
          const chunk = leasedChunk(batch, lines);
          hand.add(chunk);
          inside.push(chunk);
        } else if (kind === 'removeAgain' && lost) {
          // A chunk that was dropped while its records were on their way.
          if (lines === 1) hand.remove(lost);
          else hand.finish(lost, 1);
        } else if (chosen) {
          const finished = Math.min(lines, chosen.openLines);
          if (kind === 'finish') hand.finish(chosen, finished);
          else hand.remove(chosen);
          if (kind !== 'finish' || chosen.openLines === 0) {
            gone.push(chosen);
            inside = inside.filter((chunk) => chunk !== chosen);
          }
        }
        const sum = (of: (chunk: LeasedChunk) => number) =>
          inside.reduce((total, chunk) => total + of(chunk), 0);
        assert.equal(
          hand.lines,
          sum((chunk) => chunk.openLines),
        );
        assert.equal(
          hand.bytes,
          sum((chunk) => chunk.bytes),
        );
        for (const id of ['a', 'b']) {
          assert.equal(
            hand.linesOf(id),
            sum((chunk) => (chunk.lease.batchId === id ? chunk.openLines : 0)),
          );
        }
        assert.deepEqual(hand.chunks, inside);
        for (const chunk of inside) assert.equal(hand.get(chunk.lease.token), chunk);
      }
    }),
    { numRuns: 300 },
  );
});
