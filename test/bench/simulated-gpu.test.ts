// The figures of benches rest on the simulated GPU: what it keeps of prompts, what it reads anew, and how long that takes.

import fc from 'fast-check';
import t from 'tap';
import { Gpu, type GpuOptions, type GpuRequest } from '../../bench/parts/slot-gpu.ts';
import { type Held, PrefixCache } from '../../bench/parts/slot-prefix-cache.ts';
import { BLOCK_TOKENS } from '../../bench/parts/slot-prompt.ts';

const CAPACITY = 12;

const options: GpuOptions = {
  slots: 4,
  kvCapacityTokens: 100 * BLOCK_TOKENS,
  stepMs: 10,
  decodeMs: 1,
  prefillTokensPerMs: 16,
  chunkTokens: 8 * BLOCK_TOKENS,
  isSharedAtOnce: false,
};

/** A prompt of whole blocks, each named by a letter, and one token behind them. */
function request(letters: string, answerTokens = 1): GpuRequest {
  const blocks = [...letters];
  return { prompt: { blocks, tokens: blocks.length * BLOCK_TOKENS + 1, question: '' }, answerTokens };
}

/** Runs it until nothing is left to do. */
function drain(gpu: Gpu<GpuRequest>) {
  const total = { steps: 0, durationMs: 0, prefilledTokens: 0, cachedTokens: 0, done: [] as GpuRequest[] };
  for (let step = gpu.step(); step !== null; step = gpu.step()) {
    total.steps += 1;
    total.durationMs += step.durationMs;
    total.prefilledTokens += step.prefilledTokens;
    for (const { cachedTokens } of step.admitted) total.cachedTokens += cachedTokens;
    total.done.push(...step.done);
  }
  return total;
}

t.test('the cache holds no more than its capacity, and leaks nothing', async () => {
  const prompt = fc
    .array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 6 })
    .map((letters) => letters.map(String));
  const event = fc.record({ prompt, more: fc.nat(3), ends: fc.nat(5), isPrefilled: fc.boolean() });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const cache = new PrefixCache(CAPACITY);
      const running: { held: Held; blocks: readonly string[] }[] = [];
      for (const { prompt: blocks, more, ends, isPrefilled } of events) {
        const held = cache.hold(blocks, more);
        if (held !== null) running.push({ held, blocks });
        if (held !== null && isPrefilled) cache.share(held, blocks);
        const prefixes = new Set(
          running.flatMap(({ held: { path }, blocks: all }) =>
            path.map((_, at) => all.slice(0, at + 1).join()),
          ),
        );
        const own = running.reduce((sum, { held: { ownBlocks } }) => sum + ownBlocks, 0);
        if (prefixes.size + own > CAPACITY) return false;
        for (const { held: ended } of running.splice(0, ends)) cache.release(ended);
      }
      for (const { held } of running) cache.release(held);
      const all = cache.hold(
        Array.from({ length: CAPACITY }, (_, at) => `new ${at}`),
        0,
      );
      return all !== null && all.path.length === 0;
    }),
  );
});

t.test('the cache forgets what was not used for longest, ends first', async (t) => {
  const cache = new PrefixCache(6);
  const pass = (letters: string) => {
    const blocks = [...letters];
    const held = cache.hold(blocks, 0);
    t.ok(held);
    if (held === null) return 0;
    const found = held.path.length;
    cache.share(held, blocks);
    cache.release(held);
    return found;
  };
  t.equal(pass('abc'), 0);
  t.equal(pass('xyz'), 0);
  t.equal(pass('abc'), 3);
  t.equal(pass('pq'), 0, 'makes room of two blocks');
  t.equal(pass('x'), 1, 'the beginning of the oldest is left');
  t.equal(pass('abc'), 3);
});

t.test('every token of a prompt is prefilled or found, and every answer is made once', async () => {
  const prompts = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 10 }), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(
      prompts,
      fc.integer({ min: 1, max: 5 }),
      fc.boolean(),
      (all, answerTokens, isSharedAtOnce) => {
        const gpu = new Gpu({ ...options, kvCapacityTokens: 30 * BLOCK_TOKENS, isSharedAtOnce });
        const requests = all.map((letters) => request(letters, answerTokens));
        for (const one of requests) gpu.add(one);
        const { prefilledTokens, cachedTokens, done } = drain(gpu);
        const tokens = requests.reduce((sum, { prompt }) => sum + prompt.tokens, 0);
        return prefilledTokens + cachedTokens === tokens && new Set(done).size === requests.length;
      },
    ),
  );
});

t.test('a step takes its base time, the prefill, and a little for each answer that goes on', async (t) => {
  const gpu = new Gpu(options);
  gpu.add(request('abcd', 3));
  const { steps, durationMs } = drain(gpu);
  t.equal(steps, 3);
  t.equal(durationMs, 3 * 10 + (4 * BLOCK_TOKENS + 1) / 16 + 2);
});

t.test('a long prompt is prefilled in several steps, and others wait for their turn', async (t) => {
  const gpu = new Gpu(options);
  const [long, short] = [request('abcdefghijkl'), request('z')];
  gpu.add(long);
  gpu.add(short);
  t.same(gpu.step()?.done, []);
  t.same(gpu.step()?.done, [long, short]);
});

t.test('requests of one step share what none had before only where blocks are shared at once', async (t) => {
  for (const isSharedAtOnce of [false, true]) {
    const gpu = new Gpu({ ...options, isSharedAtOnce });
    gpu.add(request('abc'));
    gpu.add(request('abc'));
    t.equal(drain(gpu).cachedTokens, isSharedAtOnce ? 3 * BLOCK_TOKENS : 0);
    gpu.add(request('abcd'));
    t.equal(drain(gpu).cachedTokens, 3 * BLOCK_TOKENS);
  }
});

t.test('a request that is taken back frees its slot', async (t) => {
  const gpu = new Gpu({ ...options, slots: 1 });
  const [first, second] = [request('a', 100), request('b')];
  gpu.add(first);
  gpu.add(second);
  gpu.step();
  t.equal(gpu.running, 1);
  gpu.remove(first);
  t.same(drain(gpu).done, [second]);
});
