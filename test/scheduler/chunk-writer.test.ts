import t from 'tap';
import { CHUNK_LINES } from '../../src/domain/chunk.ts';
import { ChunkWriter } from '../../src/scheduler/chunk-writer.ts';

const CHUNKS = 20;

/** Over a store that answers a write when it is told to. */
function setup() {
  const looks: number[] = [];
  const writes: { readonly number: number; readonly end: (error?: Error) => void }[] = [];
  const writer = new ChunkWriter({
    batchId: 'a',
    checkRoom: async () => void looks.push(writes.length),
    store: {
      appendChunk: (_id, { number }) =>
        new Promise((resolve, reject) => {
          writes.push({ number, end: (error) => (error === undefined ? resolve() : reject(error)) });
        }),
    },
  });
  return { writer, looks, writes };
}

/** So many full chunks, and one line of the next. */
async function fill(writer: ChunkWriter, chunks: number): Promise<void> {
  for (let line = 1; line <= chunks * CHUNK_LINES + 1; line += 1) {
    await writer.add(line, Buffer.from('x'), null);
  }
}

t.test(
  'looks at the room once for every eight chunks, and not again for the first if it has looked',
  async (t) => {
    for (const hasLooked of [false, true]) {
      const { writer, looks, writes } = setup();
      if (hasLooked) await writer.checkRoom();
      const filled = fill(writer, CHUNKS).then(() => writer.end());
      for (let ended = 0; ended <= CHUNKS; ended += 1) {
        while (writes[ended] === undefined) await new Promise(setImmediate);
        writes[ended]?.end();
      }
      await filled;
      t.same(looks, [0, 8, 16]);
      t.same(
        writes.map(({ number }) => number),
        Array.from({ length: CHUNKS + 1 }, (_, number) => number),
      );
    }
  },
);

t.test('has few chunks on their way, and meets a write that failed', async (t) => {
  const { writer, writes } = setup();
  const filled = fill(writer, CHUNKS);
  while (writes.length < 4) await new Promise(setImmediate);
  for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
  t.equal(writes.length, 4);
  writes[0]?.end(new Error('the disk is broken'));
  await t.rejects(filled, { message: 'the disk is broken' });
  for (const { end } of writes) end();
  await writer.settled();
});

t.test('the end waits for all, and meets a failure too', async (t) => {
  const { writer, writes } = setup();
  await fill(writer, 2);
  const ended = writer.end();
  while (writes.length < 3) await new Promise(setImmediate);
  writes[0]?.end();
  writes[1]?.end(new Error('the disk is broken'));
  await t.rejects(ended, { message: 'the disk is broken' });
  writes[2]?.end();
  await writer.settled();
});
