import t from 'tap';
import type { CallStage } from '../../src/domain/call-stage.ts';
import { Gate } from '../../src/gpu-pool/gate.ts';
import { ManualClock } from '../fakes/manual-clock.ts';

/** An open gate, and the requests that it has let through, in order. */
class World {
  readonly gate: Gate;
  readonly through: string[] = [];
  readonly #ends: (() => void)[] = [];
  #sent = 0;

  constructor(size: number) {
    this.gate = new Gate(size, new ManualClock());
    this.gate.open();
  }

  send(stage: CallStage, tokens = 0): void {
    this.#sent += 1;
    const name = `${stage} ${this.#sent}`;
    const send = () =>
      new Promise<null>((resolve) => {
        this.through.push(name);
        this.#ends.push(() => resolve(null));
      });
    void this.gate.run(send, { tokens, stage });
  }

  async end(): Promise<void> {
    this.#ends.shift()?.();
    await new Promise(setImmediate);
  }

  hasRoom(stage: CallStage, tokens = 0): boolean {
    return this.gate.hasRoom({ tokens, stage });
  }
}

t.test('answers find room beside digests that wait, and pass them', async (t) => {
  const world = new World(1);
  while (world.hasRoom('rag')) world.send('rag');
  t.equal(world.gate.waiting, 2);
  t.ok(world.hasRoom('generation'));
  world.send('generation');
  t.notOk(world.hasRoom('rag'));
  await world.end();
  t.same(world.through, ['rag 1', 'generation 4']);
  for (let count = 0; count < 3; count += 1) await world.end();
  t.same(world.through, ['rag 1', 'generation 4', 'rag 2', 'rag 3']);
});

t.test('digests have no room beside answers that wait', async (t) => {
  const world = new World(1);
  while (world.hasRoom('generation')) world.send('generation');
  t.notOk(world.hasRoom('rag'));
});

t.test('a digest has its turn however many answers come', async (t) => {
  const world = new World(2);
  while (world.hasRoom('generation')) world.send('generation');
  await world.end();
  world.send('rag');
  let passed = 0;
  while (!world.through.some((name) => name.startsWith('rag')) && passed < 100) {
    while (world.hasRoom('generation')) world.send('generation');
    await world.end();
    passed += 1;
  }
  t.ok(passed <= 2 * 4, `passed by ${passed} answers`);
});

t.test('tokens of digests that wait are not in the way of an answer', async (t) => {
  const world = new World(1);
  world.gate.tokensMax = 100;
  world.send('rag', 40);
  world.send('rag', 60);
  t.notOk(world.hasRoom('rag', 1));
  t.ok(world.hasRoom('generation', 60));
  t.notOk(world.hasRoom('generation', 61), 'what runs counts');
});
