// Programs that do the same job, taking turns, so that a machine that is busy for a while does not decide between them.

import { loadavg } from 'node:os';
import { cpuMs } from './process-figures.ts';

export interface Contender {
  readonly name: string;
  /** Whose processor time counts, by what it is. */
  readonly processes: Readonly<Record<string, number>>;
  /** Does its job once. */
  readonly work: (round: number) => Promise<void>;
  /** Lines of its job. */
  readonly lines: number;
  /** One a round. */
  readonly costs: Cost[];
}

export interface Cost {
  /** Microseconds a line, by process. */
  readonly cpuUs: Readonly<Record<string, number>>;
  readonly linesPerSecond: number;
}

/** Each does its job in every round; who comes first changes. */
export async function takeTurns(contenders: readonly Contender[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    const turn = round % 2 === 0 ? contenders : contenders.toReversed();
    for (const contender of turn) {
      const cost = await measured(contender, round);
      contender.costs.push(cost);
      const cpu = Object.entries(cost.cpuUs).map(([name, us]) => `${us.toFixed(0)} µs ${name}`);
      const load = `load ${loadavg()[0]?.toFixed(1)}`;
      console.log(
        `  ${contender.name.padEnd(24)} ${cpu.join(', ')}; ${cost.linesPerSecond.toFixed(0)}/s; ${load}`,
      );
    }
  }
}

async function measured({ processes, work, lines }: Contender, round: number): Promise<Cost> {
  const used = () => Object.entries(processes).map(([name, pid]) => [name, cpuMs(pid)] as const);
  const before = new Map(used());
  const startedAtMs = performance.now();
  await work(round);
  const seconds = (performance.now() - startedAtMs) / 1000;
  const cpuUs = used().map(([name, ms]) => [name, (1000 * (ms - (before.get(name) ?? 0))) / lines] as const);
  return { cpuUs: Object.fromEntries(cpuUs), linesPerSecond: lines / seconds };
}

/** Microseconds a line of all its processes, each round. */
export function totals({ costs }: Contender): number[] {
  return costs.map(({ cpuUs }) => Object.values(cpuUs).reduce((sum, us) => sum + us, 0));
}
