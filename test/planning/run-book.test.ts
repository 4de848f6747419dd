import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import type { ContextOrder } from '../../src/domain/context-order.ts';
import type { Plan, PlanInput } from '../../src/planning/plan.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { RunBook, type RunBookOptions, type TakenLine } from '../../src/planning/run-book.ts';
import { planLineOf, TOKEN_COSTS } from '../fakes/planned-row.ts';

interface TestLine {
  readonly name: string;
  readonly passages: readonly string[];
}

function bookOf(options: Partial<RunBookOptions<TestLine>> = {}): RunBook<TestLine> {
  return new RunBook({
    contextOrder: 'preserve',
    tokenCosts: TOKEN_COSTS,
    planLineOf: ({ passages }) => planLineOf(passages),
    plan: planLines,
    ...options,
  });
}

/** So many lines of a topic: the same passage first, another one after it. */
function topic(name: string, lines: number): TestLine[] {
  return Array.from({ length: lines }, (_, index) => ({
    name: `${name}${index}`,
    passages: [name, `${name}-${index}`],
  }));
}

function addAll(book: RunBook<TestLine>, lines: readonly TestLine[]): void {
  for (const line of lines) book.add(line);
}

function take(book: RunBook<TestLine>, endpoint: string, count: number): string[] {
  return Array.from({ length: count }, () => book.takeFor(endpoint)?.line.name ?? 'nothing');
}

/** Topics of taken lines, each as often as it comes up anew. */
function topicsOf(names: readonly string[]): string[] {
  return names.map((name) => name.replace(/\d+$/, '')).filter((name, index, all) => name !== all[index - 1]);
}

/** Lists of equal length, one after the other of each. */
function interleaved(...lists: readonly TestLine[][]): TestLine[] {
  return (lists[0] ?? []).flatMap((_, index) => lists.map((list) => list[index] as TestLine));
}

/** The fewest lines that are planned as soon as they are there. */
const PLANNED_LINES = 32;

t.test('lines that share passages are taken one after the other by one endpoint', async (t) => {
  const book = bookOf();
  book.join('a', 1);
  book.join('b', 1);
  addAll(book, interleaved(topic('w', 8), topic('x', 8), topic('y', 8), topic('z', 8)));
  const [a, b] = [topicsOf(take(book, 'a', 16)), topicsOf(take(book, 'b', 16))];
  t.strictSame([a.length, b.length], [2, 2]);
  t.strictSame([...a, ...b].sort(), ['w', 'x', 'y', 'z']);
  t.equal(book.size, 0);
});

t.test('an endpoint with nothing left steals half, in whole groups, and at the end in lines', async (t) => {
  const book = bookOf();
  book.join('a', 1);
  addAll(book, interleaved(topic('w', 8), topic('x', 8), topic('y', 8), topic('z', 8)));
  t.strictSame(topicsOf(take(book, 'a', 1)), ['w']);
  t.strictSame(topicsOf(take(book, 'b', 16)), ['y', 'z']);
  t.strictSame(topicsOf(take(book, 'b', 8)), ['x']);
  t.strictSame(take(book, 'b', 3), ['w4', 'w5', 'w6']);
  t.strictSame(take(book, 'a', 4), ['w1', 'w2', 'w3', 'w7']);
  t.equal(book.size, 0);
});

t.test('a faster endpoint has more to do', async (t) => {
  const book = bookOf();
  book.join('fast', 3);
  book.join('slow', 1);
  addAll(
    book,
    [...'abcdefgh'].flatMap((name) => topic(name, 4)),
  );
  const [slow, fast] = [topicsOf(take(book, 'slow', 8)), topicsOf(take(book, 'fast', 24))];
  t.strictSame([slow.length, fast.length], [2, 6]);
  t.equal(new Set([...slow, ...fast]).size, 8);
});

t.test('the group with the oldest line comes first', async (t) => {
  const book = bookOf();
  book.join('a', 1);
  addAll(book, [...topic('old', 1), ...topic('many', 28), ...topic('old', 3)]);
  t.strictSame(topicsOf(take(book, 'a', PLANNED_LINES)), ['old', 'many']);
});

t.test('a new plan goes on where the prefix is cached', async (t) => {
  const book = bookOf();
  book.join('a', 1);
  book.join('b', 1);
  addAll(book, [...topic('w', 16), ...topic('x', 16)]);
  const [[a], [b]] = [take(book, 'a', 1), take(book, 'b', 1)];
  addAll(book, [...topic('y', 8), ...topic('w', 12), ...topic('x', 12)]);
  t.equal(topicsOf([a ?? '', ...take(book, 'a', 20)]).length, 1);
  t.equal(topicsOf([b ?? '', ...take(book, 'b', 20)]).length, 1);
});

t.test('the lines of an endpoint that has left are there for the others', async (t) => {
  const book = bookOf();
  book.join('a', 1);
  book.join('b', 1);
  addAll(book, [...topic('w', 20), ...topic('x', 20)]);
  book.leave('b');
  book.leave('b');
  t.equal(new Set(take(book, 'a', 40)).size, 40);
  t.equal(book.size, 0);
});

t.test('what comes back goes first, with the order of its prompt', async (t) => {
  const book = bookOf({ contextOrder: 'pin_top' });
  addAll(book, topic('w', 3));
  const taken = book.takeFor('a') as TakenLine<TestLine>;
  t.strictSame([...taken.ranks], [1, 0]);
  book.putBack(taken);
  t.equal(book.size, 3);
  t.equal(book.takeFor('b'), taken);
});

t.test('while a plan is made lines are taken in order, and what was taken is not in the plan', async (t) => {
  const plans: { input: PlanInput; resolve: (plan: Plan) => void }[] = [];
  const book = bookOf({
    plan: (input) => {
      const { promise, resolve } = Promise.withResolvers<Plan>();
      plans.push({ input, resolve });
      return promise;
    },
  });
  book.join('a', 1);
  addAll(book, interleaved(topic('w', 20), topic('x', 20)));
  t.strictSame(take(book, 'a', 4), ['w0', 'x0', 'w1', 'x1']);
  t.equal(plans.length, 1, 'one at a time');
  plans[0]?.resolve(planLines(plans[0].input));
  await Promise.resolve();
  const rest = take(book, 'a', 36);
  t.equal(new Set(rest).size, 36);
  t.notOk(rest.includes('nothing'));
  t.equal(book.takeFor('a'), null);
});

t.test('a plan can be made in another thread, to which its input is handed over', async (t) => {
  const inAnotherThread = (input: PlanInput): Plan => {
    const { offsets, passages, passageCosts, ownCosts, answerTokens } = input;
    const transfer = [offsets, passages, passageCosts, ownCosts, answerTokens].map(
      ({ buffer }) => buffer as ArrayBuffer,
    );
    return structuredClone(planLines(structuredClone(input, { transfer })));
  };
  const namesOf = (book: RunBook<TestLine>) => {
    addAll(book, interleaved(topic('w', 8), topic('x', 8), topic('y', 8), topic('z', 8)));
    return take(book, 'a', PLANNED_LINES);
  };
  for (const contextOrder of ['preserve', 'pin_top', 'full'] as const) {
    t.strictSame(namesOf(bookOf({ contextOrder, plan: inAnotherThread })), namesOf(bookOf({ contextOrder })));
  }
});

t.test('a line is in a bounded number of plans', async (t) => {
  let planned = 0;
  const book = bookOf({
    plan: (input) => {
      planned += input.offsets.length - 1;
      return planLines(input);
    },
  });
  book.join('a', 1);
  const lines = topic('w', 5_000);
  addAll(book, lines);
  t.ok(planned <= 6 * lines.length, `${planned} lines in plans`);
});

/** Two topics of 16 lines each, planned for one endpoint. */
function twoTopics(): RunBook<TestLine> {
  const book = bookOf();
  book.join('a', 1);
  addAll(book, interleaved(topic('w', 16), topic('x', 16)));
  return book;
}

t.test(
  'where prompts are shared once they are read, the others wait for the first of their group',
  async (t) => {
    const book = twoTopics();
    const takeOne = () => book.takeFor('a', true) as TakenLine<TestLine>;
    const [first, other] = [takeOne(), takeOne()];
    t.not(topicsOf([first.line.name])[0], topicsOf([other.line.name])[0], 'meanwhile there is another group');
    t.strictSame([first.leads, other.leads].sort(), ['w', 'x']);
    const third = takeOne();
    t.equal(third.leads, null, 'nobody is idle: where all wait, the first group goes on');
    t.strictSame(topicsOf([third.line.name]), topicsOf([first.line.name]));
    book.release('a', other.leads ?? '', true);
    const followers = Array.from({ length: 14 }, takeOne);
    t.strictSame(topicsOf(followers.map(({ line }) => line.name)), topicsOf([other.line.name]));
    t.ok(followers.every(({ leads }) => leads === null));
    book.release('a', first.leads ?? '', true);
    const rest = Array.from({ length: 15 }, takeOne);
    t.strictSame(new Set(rest.map(({ line }) => line.name)).size, 15);
    t.equal(book.size, 0);
  },
);

t.test('a leader that came to nothing is followed by another one, one that was read by none', async (t) => {
  for (const isRead of [false, true]) {
    const book = twoTopics();
    const first = book.takeFor('a', true);
    book.release('a', first?.leads ?? '', isRead);
    const second = book.takeFor('a', true);
    t.strictSame(topicsOf([second?.line.name ?? '']), topicsOf([first?.line.name ?? '']));
    t.equal(second?.leads, isRead ? null : first?.leads);
  }
});

t.test('what shares little, or with few, has no leader', async (t) => {
  for (const lines of [topic('w', 2), topic('w', 1)]) {
    const book = bookOf();
    book.join('a', 1);
    addAll(book, [...lines, ...Array.from({ length: 40 }, (_, index) => topic(`t${index}`, 1)).flat()]);
    for (let next = book.takeFor('a', true); next; next = book.takeFor('a', true)) t.equal(next.leads, null);
  }
  const short = bookOf({
    planLineOf: (line) => ({ ...planLineOf(line.passages), passageTokens: [100, 100] }),
  });
  short.join('a', 1);
  addAll(short, topic('w', PLANNED_LINES));
  for (let next = short.takeFor('a', true); next; next = short.takeFor('a', true)) t.equal(next.leads, null);
});

t.test('what is taken or removed is not kept alive', async (t) => {
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  let finishPlan = (): void => {};
  const book = bookOf({
    plan: (input) => {
      if (input.offsets.length < 100) return planLines(input);
      const { promise, resolve } = Promise.withResolvers<Plan>();
      finishPlan = () => resolve(planLines(input));
      return promise;
    },
  });
  book.join('a', 1);
  addAll(book, topic('w', 60));
  addAll(book, interleaved(topic('x', 30), topic('y', 30)));
  const isGone = ({ name }: TestLine) => /^[wx]\d*[02468]$/.test(name);
  const gone = book.remove(isGone).map((line) => new WeakRef(line));
  for (let left = book.size - 10; left > 0; left -= 1) gone.push(new WeakRef(book.takeFor('a')!.line));
  await new Promise(setImmediate);
  collectGarbage();
  t.equal(gone.filter((line) => line.deref() !== undefined).length, 0, 'while a plan is made');
  finishPlan();
  await new Promise(setImmediate);
  for (let left = book.size - 1; left > 0; left -= 1) gone.push(new WeakRef(book.takeFor('a')!.line));
  await new Promise(setImmediate);
  collectGarbage();
  t.equal(gone.filter((line) => line.deref() !== undefined).length, 0, 'in the midst of a run');
});

type Step =
  | { readonly kind: 'add'; readonly passages: readonly string[]; readonly count: number }
  | {
      readonly kind: 'take';
      readonly endpoint: string;
      readonly count: number;
      readonly isLeaderFirst: boolean;
    }
  | { readonly kind: 'putBack' | 'remove' | 'leave' | 'join' | 'plan'; readonly choice: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      passages: fc.array(fc.constantFrom(...'abcde'), { maxLength: 4 }),
      count: fc.integer({ min: 1, max: 25 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('take' as const),
      endpoint: fc.constantFrom('0', '1', '2'),
      count: fc.integer({ min: 1, max: 25 }),
      isLeaderFirst: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'putBack' as const,
        'remove' as const,
        'leave' as const,
        'join' as const,
        'plan' as const,
      ),
      choice: fc.nat({ max: 30 }),
    }),
  },
);

t.test(
  'whatever comes and goes, each line is given out once and none while another waits in vain (B1, B2, B3)',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<ContextOrder>('preserve', 'pin_top', 'full'),
        fc.boolean(),
        fc.array(anyStep, { maxLength: 60, size: 'max' }),
        async (contextOrder, isSlow, steps) => {
          const plans: (() => void)[] = [];
          const plan = (input: PlanInput) => {
            if (!isSlow) return planLines(input);
            const { promise, resolve } = Promise.withResolvers<Plan>();
            plans.push(() => resolve(planLines(input)));
            return promise;
          };
          const book = bookOf({ contextOrder, plan });
          const held = new Set<TestLine>();
          const taken: TakenLine<TestLine>[] = [];
          let added = 0;
          const takeOne = (endpoint: string, isLeaderFirst = false): void => {
            const next = book.takeFor(endpoint, isLeaderFirst);
            if (!next) {
              if (held.size > 0) throw new Error(`nothing of ${held.size}`);
              return;
            }
            if (!held.delete(next.line)) throw new Error(`${next.line.name} was not there`);
            checkOrder(next, contextOrder);
            taken.push(next);
          };
          for (const step of steps) {
            if (step.kind === 'add') {
              for (let count = 0; count < step.count; count++) {
                const line = {
                  name: `${added++}`,
                  passages: step.passages.concat(count % 3 === 0 ? [`${count}`] : []),
                };
                held.add(line);
                book.add(line);
              }
            } else if (step.kind === 'take') {
              for (let count = 0; count < step.count; count++) takeOne(step.endpoint, step.isLeaderFirst);
            } else if (step.kind === 'putBack') {
              const [back] = taken.splice(step.choice, 1);
              if (back) book.putBack(back);
              if (back) held.add(back.line);
            } else if (step.kind === 'remove') {
              const matches = ({ name }: TestLine) => Number(name) % 5 === step.choice % 5;
              for (const line of book.remove(matches)) {
                if (!matches(line) || !held.delete(line))
                  throw new Error(`${line.name} was not to be removed`);
              }
              if ([...held].some(matches)) throw new Error('a line that matches is left');
            } else if (step.kind === 'leave') book.leave(`${step.choice % 3}`);
            else if (step.kind === 'join') book.join(`${step.choice % 3}`, 1 + step.choice);
            else {
              plans.shift()?.();
              await Promise.resolve();
            }
            if (book.size !== held.size) throw new Error(`${book.size} of ${held.size} held`);
          }
          while (held.size > 0) takeOne(`${held.size % 3}`);
          return book.takeFor('0') === null && book.size === 0;
        },
      ),
      { numRuns: 300 },
    );
  },
);

function checkOrder({ line, ranks }: TakenLine<TestLine>, contextOrder: ContextOrder): void {
  const isWhole = [...ranks].sort((a, b) => a - b).every((rank, index) => rank === index);
  const isKept =
    contextOrder === 'full' ||
    (contextOrder === 'pin_top'
      ? ranks.length === 0 || ranks.at(-1) === 0
      : ranks.every((rank, place) => rank === place));
  if (ranks.length !== line.passages.length || !isWhole || !isKept)
    throw new Error(`${line.name} is out of order`);
}
