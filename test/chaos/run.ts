// npm run test:chaos: runs the campaigns, two at a time, and prints their figures. A campaign runs alone by
// `node test/chaos/<name>.campaign.ts`; CHAOS_SEED (and CHAOS_PATH for histories) run a failed one again.

import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { FIGURES_PREFIX, type Figures, noFigures } from './figures.ts';

/** The longest first, so that both workers end at about the same time. Some run twice, with another seed. */
const CAMPAIGNS = [
  'bootstrap-kills',
  'histories',
  'histories',
  'named-points',
  'named-points',
  'random-kills',
  'random-kills',
  'cancel-races',
  'migration-kills',
  'stalled-loop',
  // Last and alone: it measures time.
  'recovery',
];
const WORKERS = 2;
const TIMEOUT_SECONDS = 1_800;

interface Ended {
  readonly name: string;
  readonly isPassed: boolean;
  readonly output: string;
  readonly seconds: number;
}

async function run(name: string): Promise<Ended> {
  const startedAtMs = performance.now();
  const path = fileURLToPath(new URL(`./${name}.campaign.ts`, import.meta.url));
  const child = spawn(process.execPath, [path], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TAP_TIMEOUT: String(TIMEOUT_SECONDS) },
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const output = await text(child.stdout);
  const isPassed = (await ended) === 0;
  const seconds = Math.round((performance.now() - startedAtMs) / 1000);
  process.stdout.write(`${isPassed ? 'passed' : 'FAILED'}  ${name} (${seconds} s)\n`);
  if (!isPassed) process.stdout.write(output);
  return { name, isPassed, output, seconds };
}

async function runAll(): Promise<Ended[]> {
  const waiting = CAMPAIGNS.slice(0, -1);
  const ended: Ended[] = [];
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) ended.push(await run(name));
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  for (const name of CAMPAIGNS.slice(-1)) ended.push(await run(name));
  return ended;
}

function gather(ended: readonly Ended[]): Figures {
  const all = noFigures();
  for (const { output } of ended) {
    for (const line of output.split('\n')) {
      const [, json] = line.split(FIGURES_PREFIX);
      if (json !== undefined) add(all, JSON.parse(json) as Figures);
    }
  }
  return all;
}

function add(all: Figures, more: Figures): void {
  all.rounds += more.rounds;
  all.kills += more.kills;
  all.linesAcknowledged += more.linesAcknowledged;
  all.batchesAcknowledged += more.batchesAcknowledged;
  all.histories += more.histories;
  all.commands += more.commands;
  all.repeatedCalls.push(...more.repeatedCalls);
  all.readyMs.push(...more.readyMs);
  all.recoveryMs.push(...more.recoveryMs);
}

function tell(figures: Figures, isPassed: boolean): void {
  const { repeatedCalls, readyMs, recoveryMs } = figures;
  const lines = [
    `kills survived              ${figures.kills}`,
    `batches, lines acknowledged ${figures.batchesAcknowledged}, ${figures.linesAcknowledged}`,
    `lines lost, duplicated      ${isPassed ? '0, 0' : 'see the failed campaigns'}`,
    `repeated calls per kill     mean ${mean(repeatedCalls).toFixed(1)}, at most ${Math.max(...repeatedCalls)}`,
    `histories, commands         ${figures.histories}, ${figures.commands}`,
    `ready after a kill, ms      ${spread(readyMs)}`,
    `first new result, ms        ${spread(recoveryMs)}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)] ?? 0;
  return `median ${Math.round(middle)}, at most ${Math.round(sorted.at(-1) ?? 0)}`;
}

const ended = await runAll();
const isPassed = ended.every((campaign) => campaign.isPassed);
tell(gather(ended), isPassed);
process.exitCode = isPassed ? 0 : 1;
