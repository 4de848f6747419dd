// All benches of docs/performance.md, one after the other: each in a process of its own, its output shown as it comes, and
// the figures of all in one file and one table. A bench that fails is said to, and the others run nevertheless. What has
// been measured is in the file after each bench, so that a run that is broken off loses nothing.
//
//   npm run bench [-- --quick --only=makespan,planner --json=bench-figures.json]
//
// --quick: small sizes, about ten minutes, to see that everything runs. Ends with 1 when a bench ended with anything but 0:
// it failed, or a figure of it missed a target that it insists on.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BENCHES, type Bench } from './parts/bench-list.ts';
import { figuresTable } from './parts/figures-table.ts';
import { type FigureFile, machine, type Row } from './parts/report.ts';

/** What came of a bench. */
interface Ended {
  readonly bench: string;
  /** To repeat it. */
  readonly command: string;
  /** The exit code, or the signal that it died of. */
  readonly endedWith: number | NodeJS.Signals;
  readonly seconds: number;
  /** None: it failed before it had written any. */
  readonly rows: readonly Row[];
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: BENCHES.map(({ name }) => name).join() },
    json: { type: 'string', default: 'bench-figures.json' },
  },
});
const chosen = values.only.split(',').map(benchNamed);
const startedAt = new Date().toISOString();
const all: Ended[] = [];
const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
let running: ChildProcess | null = null;
let signal: 'SIGINT' | 'SIGTERM' | null = null;
for (const one of ['SIGINT', 'SIGTERM'] as const) process.on(one, () => stop(one));

for (const bench of chosen) {
  if (signal !== null) break;
  all.push(await run(bench));
  writeFigures();
}
// A service that was left alone by its bench may be ending still.
rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 500 });
console.log(`\n${machine()}\n\n${figuresTable(all)}\n`);
const notEnded = all.filter(({ endedWith }) => endedWith !== 0);
for (const { bench, endedWith, rows } of notEnded) {
  console.log(`${bench} ended with ${endedWith}${rows.length === 0 ? ' and has no figures' : ''}`);
}
console.log(`figures: ${values.json}`);
process.exitCode = exitCode();

async function run(bench: Bench): Promise<Ended> {
  const path = join(folder, `${bench.name}.json`);
  const program = fileURLToPath(new URL(bench.program, import.meta.url));
  const own = values.quick ? bench.quickArguments : bench.arguments;
  const command = ['node', `bench/${bench.program}`, ...own].join(' ');
  console.log(`\n=== ${bench.name}: ${command}`);
  const startedAtMs = performance.now();
  const child = spawn(process.execPath, [program, ...own, `--json=${path}`], {
    stdio: 'inherit',
    // What a bench leaves behind that was killed goes with this folder.
    env: { ...process.env, TMPDIR: folder },
  });
  running = child;
  const [code, diedOf] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  running = null;
  const seconds = Math.round((performance.now() - startedAtMs) / 1000);
  const endedWith = code ?? diedOf ?? 1;
  console.log(`=== ${bench.name}: ended with ${endedWith} after ${seconds} s`);
  return { bench: bench.name, command, endedWith, seconds, rows: rowsOf(path) };
}

function rowsOf(path: string): readonly Row[] {
  if (!existsSync(path)) return [];
  return (JSON.parse(readFileSync(path, 'utf8')) as FigureFile).rows;
}

function writeFigures(): void {
  const file = { machine: machine(), startedAt, isQuick: values.quick, benches: all };
  writeFileSync(values.json, `${JSON.stringify(file, null, 2)}\n`);
}

function benchNamed(name: string): Bench {
  const found = BENCHES.find((bench) => bench.name === name);
  if (!found)
    throw new Error(`there is no bench ${name}; there are ${BENCHES.map((one) => one.name).join()}`);
  return found;
}

/** Ctrl-C reaches the child by itself as well; a signal that was sent to this process alone does not. */
function stop(by: 'SIGINT' | 'SIGTERM'): void {
  signal = by;
  running?.kill(by);
}

function exitCode(): number {
  if (signal !== null) return 128 + constants.signals[signal];
  return notEnded.length === 0 ? 0 : 1;
}
