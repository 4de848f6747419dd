// Whether restarts that build the collection anew each time leave something behind: the disk of the embedded Chroma and the
// memory of its process and of the service, after each READY. The corpus is the demo's.
//
//   npm run bench:restarts [-- --restarts=100]

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { residentMb } from './parts/process-figures.ts';
import { machine, report } from './parts/report.ts';

/** Leftovers are swept at the next start, and the database finds its size: the first ones are no measure. */
const SETTLING = 10;
const COMPARED = 20;

interface Round {
  readonly diskMb: number;
  readonly chromaMb: number;
  readonly serviceMb: number;
}

const { values } = parseArgs({ options: { restarts: { type: 'string', default: '100' } } });
const restarts = Number(values.restarts);
if (!(restarts >= SETTLING + COMPARED)) {
  throw new Error(`--restarts must be at least ${SETTLING + COMPARED}: the first ${SETTLING} are no measure`);
}
const settings = { RESET_COLLECTION: 'always', GPU_COUNT: '0' };

let service = new ServiceProcess(settings);
const rounds: Round[] = [];
try {
  for (let restart = 0; ; restart += 1) {
    await service.ready(() => {});
    rounds.push(measure(service));
    if (restart === restarts) break;
    await service.end('SIGTERM');
    service = new ServiceProcess(settings, { folder: service.folder });
  }
} finally {
  await service.stop();
}
console.log(machine());
const early = rounds.slice(SETTLING, SETTLING + COMPARED);
const late = rounds.slice(-COMPARED);
report(
  `${restarts} restarts: mean of ${COMPARED} from the ${SETTLING}th on, of the last ${COMPARED}, and the most`,
  (['diskMb', 'chromaMb', 'serviceMb'] as const).map((name) => {
    const most = Math.max(...rounds.map((round) => round[name]));
    const [first, last] = [mean(early, name), mean(late, name)];
    return [name, `${first.toFixed(1)}, ${last.toFixed(1)}, ${most.toFixed(1)}`];
  }),
);

function measure({ folder, pid = 0 }: ServiceProcess): Round {
  return {
    diskMb: bytesOf(join(folder, 'data', 'chroma')) / 1e6,
    chromaMb: residentMb(chromaOf(pid)),
    serviceMb: residentMb(pid),
  };
}

/** What the files take of the disk: those of an index are sparse. */
function bytesOf(folder: string): number {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).blocks * 512, 0);
}

/** The process of the embedded Chroma. Throws where the service has none. */
function chromaOf(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  const found = children.find((child) =>
    readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('embedded-child'),
  );
  if (found === undefined) throw new Error('the service has no embedded Chroma');
  return found;
}

function mean(some: readonly Round[], name: keyof Round): number {
  return some.reduce((sum, round) => sum + round[name], 0) / some.length;
}
