import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import type { ContextOrder } from '../../src/domain/context-order.ts';
import { PassageIds } from '../../src/planning/passage-ids.ts';
import { numberLine, planInputOf } from '../../src/planning/plan-input.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { inputOf, planLineOf, plannedRow, TOKEN_COSTS } from '../fakes/planned-row.ts';
import { LINE_COST, PASSAGE_COST, roundRobin, zipfSets } from '../fakes/zipf-sets.ts';

const ORDERS: readonly ContextOrder[] = ['preserve', 'pin_top', 'full'];
const SET = process.env.ZIPF_SET ?? fileURLToPath(new URL('../../../shared/data/zipf', import.meta.url));
/** Of 20,000 lines, prefill work and makespan relative to round-robin: the simulation of the field's best order. */
const LIMITS = { preserve: 0.81, pin_top: 0.66, full: 0.53 } as const;

/** The plan with the names of passages, as the prompts of its lines. */
function planned(sets: readonly (readonly string[])[], contextOrder: ContextOrder) {
  const input = inputOf(sets, contextOrder);
  const plan = planLines(input);
  const prompts = Array.from(plan.sequence, (line) =>
    Array.from(
      plan.ranks.subarray(input.offsets[line], input.offsets[line + 1]),
      (rank) => sets[line]?.[rank] ?? '',
    ),
  );
  return { ...plan, prompts };
}

function sharedBegin(one: readonly string[], other: readonly string[]): number {
  const length = one.findIndex((passage, index) => passage !== other[index]);
  return length === -1 ? one.length : length;
}

const anySets = fc.array(fc.array(fc.constantFrom(...'abcdefgh'), { maxLength: 6 }), {
  maxLength: 30,
  size: 'max',
});

t.test(
  'a plan holds each line once, with its own passages, at the cost of what its predecessor has not read',
  async () => {
    fc.assert(
      fc.property(anySets, fc.constantFrom(...ORDERS), (sets, contextOrder) => {
        const { sequence, prompts, costs, coldCosts } = planned(sets, contextOrder);
        const isWhole = [...sequence].sort((a, b) => a - b).every((line, index) => line === index);
        return (
          isWhole &&
          sequence.length === sets.length &&
          prompts.every((prompt, place) => {
            const set = sets[sequence[place] ?? 0] ?? [];
            const common = place === 0 ? 0 : sharedBegin(prompt, prompts[place - 1] ?? []);
            return (
              prompt.toSorted().join() === set.toSorted().join() &&
              (contextOrder !== 'preserve' || prompt.join() === set.join()) &&
              (contextOrder !== 'pin_top' || prompt.at(-1) === set[0]) &&
              costs[place] === PASSAGE_COST * (prompt.length - common) + LINE_COST &&
              coldCosts[place] === PASSAGE_COST * prompt.length + LINE_COST
            );
          })
        );
      }),
      { numRuns: 500 },
    );
  },
);

t.test('equal inputs give equal plans', async () => {
  fc.assert(
    fc.property(anySets, fc.constantFrom(...ORDERS), (sets, contextOrder) => {
      const [one, other] = [planned(sets, contextOrder), planned(sets, contextOrder)];
      return JSON.stringify(one) === JSON.stringify(other);
    }),
  );
});

t.test(
  'the passage whose sharing saves most comes first, and its lines are ordered by what else they share',
  async (t) => {
    const { prompts, groupStarts } = planned(
      [
        ['x', 'hot', 'a'],
        ['cold', 'pair'],
        ['hot', 'y', 'b'],
        ['a', 'z', 'hot'],
        ['pair', 'other'],
        ['lone'],
        [],
      ],
      'full',
    );
    t.strictSame(prompts, [
      ['hot', 'a', 'x'],
      ['hot', 'a', 'z'],
      ['hot', 'y', 'b'],
      ['pair', 'cold'],
      ['pair', 'other'],
      ['lone'],
      [],
    ]);
    t.strictSame([...groupStarts], [0, 3, 5, 6]);
  },
);

t.test('a longer passage is worth more than one that more lines share', async (t) => {
  const ids = new PassageIds();
  const tokens = (key: string) => (key === 'long' ? 1_000 : 100);
  const lines = [['short', 'long'], ['long', 'a'], ['b', 'short'], ['short']].map((passages) =>
    numberLine({ ...planLineOf(passages), passageTokens: passages.map(tokens) }, ids, TOKEN_COSTS),
  );
  const input = planInputOf(lines, ids, 'full');
  const { sequence, costs } = planLines(input);
  t.strictSame([...sequence], [0, 1, 2, 3]);
  t.strictSame(
    [...costs],
    [1_100, 100, 200, 0].map((cost) => cost + LINE_COST),
  );
});

t.test('what all lines share makes no group, but stands first', async (t) => {
  const sets = [
    ['a', 'all'],
    ['all', 'b'],
    ['c', 'all'],
    ['b', 'all'],
  ];
  const full = planned(sets, 'full');
  t.ok(full.prompts.every(([first]) => first === 'all'));
  t.strictSame([...full.groupStarts], [0, 2, 3]);
  const equal = planned([['a'], ['a'], ['a']], 'preserve');
  t.strictSame([...equal.groupStarts], [0, 1, 2]);
});

t.test(
  'with the first-ranked passage pinned, lines equal in the rest meet where it is equal too',
  async (t) => {
    const { prompts } = planned(
      [
        ['p', 'a', 'b'],
        ['q', 'b', 'a'],
        ['p', 'b', 'a'],
        ['q', 'a', 'b'],
      ],
      'pin_top',
    );
    t.strictSame(
      prompts.map((prompt) => prompt.join('')),
      ['abp', 'abp', 'abq', 'abq'],
    );
  },
);

t.test('among equal lines long answers go first', async (t) => {
  for (const contextOrder of ORDERS) {
    const ids = new PassageIds();
    const lines = [10, 30, 20].map((tokens) => numberLine(planLineOf(['a', 'b'], tokens), ids, TOKEN_COSTS));
    t.strictSame([...planLines(planInputOf(lines, ids, contextOrder)).sequence], [1, 2, 0], contextOrder);
  }
});

t.test('many lines of many passages are planned, whatever they share', async (t) => {
  const lines = Array.from({ length: 2_000 }, (_, line) => line);
  const places = Array.from({ length: 100 }, (_, place) => place);
  const shapes = {
    equal: () => places.map(String),
    distinct: (line: number) => places.map((place) => `${line}.${place}`),
    'one in all': (line: number) => places.map((place) => (place === 50 ? 'all' : `${line}.${place}`)),
    chain: (line: number) => places.map((place) => `${line + place}`),
    'all but one': (line: number) => places.filter((place) => place !== line % 100).map(String),
  };
  for (const [shape, passagesOf] of Object.entries(shapes)) {
    for (const contextOrder of ORDERS) {
      const sets = lines.map(passagesOf);
      const { costs, coldCosts } = planned(sets, contextOrder);
      const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
      t.ok(sum(costs) <= sum(coldCosts), `${shape}, ${contextOrder}`);
    }
  }
});

for (const [name, setsOf] of [
  ['generated sets with Zipf-like topics', () => zipfSets(20_000, 1)],
  ['the retrieved sets of ../shared/data/zipf', readSets],
] as const) {
  const isAbsent = setsOf === readSets && !existsSync(SET);
  t.test(`${name}: work and makespan`, { skip: isAbsent && 'the data are not there' }, async (t) => {
    const sets = setsOf();
    const base = roundRobin(sets);
    for (const contextOrder of ORDERS) {
      const { row } = plannedRow(sets, contextOrder);
      const [work, makespan] = [row.work / base.work, row.makespan / base.makespan];
      t.ok(work <= LIMITS[contextOrder], `${contextOrder}: work ${work.toFixed(4)}`);
      t.ok(makespan <= LIMITS[contextOrder], `${contextOrder}: makespan ${makespan.toFixed(4)}`);
    }
  });
}

function readSets(): string[][] {
  const rows = readFileSync(`${SET}/retrieved.jsonl`, 'utf8').trimEnd().split('\n');
  return rows.map((row) => (JSON.parse(row) as unknown[]).map(String));
}
