// Whether a line costs as much in a large batch as in a small one: processor time a line, from the upload to the last
// result read, of batches of different sizes, with rag_mode=off and a model server that answers at once. One service runs
// them all, in turns; small batches are run one after the other until there is enough to measure.
//
//   npm run bench:line-cost [-- --sizes=1000,10000,100000,1000000 --rounds=2 --window=64 --json=<file>]

import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { answerByService } from './parts/answered-file.ts';
import { type Contender, takeTurns, totals } from './parts/contenders.ts';
import { startInstantModel } from './parts/instant-model.ts';
import { median } from './parts/median.ts';
import { questionPieces } from './parts/question-lines.ts';
import { type Figure, FigureReport, figure } from './parts/report.ts';

/** Lines that a measurement has at least. */
const LINES_MIN = 20_000;
const WARM_UP_LINES = 20_000;

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '1000,10000,100000' },
    rounds: { type: 'string', default: '2' },
    window: { type: 'string', default: '64' },
    json: { type: 'string' },
  },
});
const sizes = values.sizes.split(',').map(Number);

await using opened = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
opened.defer(() => rmSync(folder, { recursive: true }));
const model = opened.use(await startInstantModel());
const service = new ServiceProcess({
  GPU_ENDPOINTS: model.url,
  GPU_CONCURRENCY: values.window,
  RAG_MODE: 'off',
});
opened.defer(() => service.stop());
await service.ready(() => {});
const report = new FigureReport('what a line costs in batches of different sizes');
await answerByService(service.url, await fileOf(WARM_UP_LINES), WARM_UP_LINES);
const batches: Contender[] = [];
for (const size of sizes) batches.push(await batchesOf(size));
console.log('\nprocessor time a line, batches of each size in turns');
await takeTurns(batches, Number(values.rounds));
report.table('rag_mode=off, medians of the rounds', batches.map(figureOf));
const [smallest] = batches;
if (smallest)
  report.table(
    `against ${smallest.name}`,
    batches.slice(1).map((one) => ratioOf(one, smallest)),
  );
report.write(values.json);

async function batchesOf(size: number): Promise<Contender> {
  const path = await fileOf(size);
  const count = Math.max(1, Math.ceil(LINES_MIN / size));
  return {
    name: `batches of ${size}`,
    processes: { service: service.pid ?? 0 },
    work: async () => {
      for (let batch = 0; batch < count; batch += 1) await answerByService(service.url, path, size);
    },
    lines: count * size,
    costs: [],
  };
}

async function fileOf(lines: number): Promise<string> {
  const path = join(folder, `${lines}.jsonl`);
  await pipeline(Readable.from(questionPieces(lines)), createWriteStream(path));
  return path;
}

function figureOf(one: Contender): Figure {
  return figure(one.name, median(totals(one)), 'µs a line');
}

function ratioOf(one: Contender, smallest: Contender): Figure {
  const base = totals(smallest);
  const ratios = totals(one).map((us, round) => us / (base[round] ?? Number.NaN));
  return figure(one.name, median(ratios));
}
