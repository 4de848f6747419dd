// The benches whose figures stand on the page about performance, in its order, with what each is told.

export interface Bench {
  readonly name: string;
  /** In the folder above. */
  readonly program: string;
  readonly arguments: readonly string[];
  /** Instead of these, for a look at everything in about ten minutes; its figures are no figures for the page. */
  readonly quickArguments: readonly string[];
}

const ORDERS = '--orders=preserve,pin_top,full';

export const BENCHES: readonly Bench[] = [
  {
    name: 'makespan',
    program: 'makespan.ts',
    arguments: [],
    quickArguments: ['--servers=2,8', '--lines=4000'],
  },
  {
    name: 'planner',
    program: 'planner.ts',
    arguments: [],
    quickArguments: ['--lines=4000', '--streamed=2000'],
  },
  {
    name: 'prefix',
    program: 'prefix-reuse.ts',
    arguments: [ORDERS],
    quickArguments: [ORDERS, '--lines=1000'],
  },
  {
    name: 'overhead',
    program: 'overhead.ts',
    arguments: [],
    quickArguments: ['--lines=3000', '--questions=300', '--rounds=1', '--chunks=500'],
  },
  {
    name: 'line-cost',
    program: 'line-cost.ts',
    arguments: [],
    quickArguments: ['--sizes=1000,10000', '--rounds=1'],
  },
  {
    name: 'baseline',
    program: 'baseline.ts',
    arguments: [],
    quickArguments: ['--rounds=1', '--seconds=4', '--chunks=500'],
  },
  {
    name: 'small-batch',
    program: 'small-batch.ts',
    arguments: [],
    quickArguments: ['--lines=30000', '--after=10', '--rounds=2'],
  },
  {
    name: 'event-loop',
    program: 'event-loop.ts',
    arguments: [],
    quickArguments: ['--seconds=5'],
  },
  {
    name: 'large-batch',
    program: 'large-batch.ts',
    arguments: [],
    quickArguments: ['--lines=50000'],
  },
  {
    name: 'recovery',
    program: 'recovery.ts',
    arguments: [],
    quickArguments: ['--rounds=2'],
  },
];
