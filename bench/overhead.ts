// What the service costs a line, from the upload to the result that a client has read, beside programs that do less. The
// model server answers at once, so that nothing but their own work stands between a question and its answer.
//
//   off       rag_mode=off, beside a bare loop that makes the same calls and keeps nothing, and beside a plain BullMQ worker
//             where `redis-server` is on the PATH and BullMQ can be found: `npm install --prefix <folder> bullmq ioredis`,
//             then --bullmq=<folder>. Redis writes its log to the disk once a second; the service commits before it answers
//   retrieve  with retrieval, beside a bare loop that asks the service's own Chroma for the same vectors
//
//   npm run bench:overhead [-- --parts=off,retrieve --lines=20000 --questions=1500 --rounds=3 --concurrency=64
//     --bullmq=<folder> --json=<file>]
//   npm run bench:overhead -- --profile=<folder>   where the service's processor time goes with rag_mode=off, and no more

import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { answerByService } from './parts/answered-file.ts';
import { type Contender, takeTurns, totals } from './parts/contenders.ts';
import { type InstantModel, startInstantModel } from './parts/instant-model.ts';
import { LoopProcess } from './parts/loop-process.ts';
import { median } from './parts/median.ts';
import { questionPieces } from './parts/question-lines.ts';
import { hasRedis, RedisServer } from './parts/redis-server.ts';
import { type Figure, FigureReport, figure } from './parts/report.ts';
import { type Asked, CorpusFile, ServiceChroma } from './parts/retrieval-side.ts';
import { profileService } from './parts/service-profile.ts';
import { cpuMsByKind } from './parts/thread-figures.ts';

const TOP_K = 5;
/** Vectors a call of the loop that asks Chroma, and calls at a time; see bench:retrieval-cost for others. */
const VECTORS_A_CALL = 64;
const CHROMA_CALLS = 2;
/** Times the processor time of the bare loop. */
const RATIO_MAX = 3;
/** Until most of what a line passes through is compiled. */
const WARM_UP_LINES = 120_000;
/** Files that the bare loop answers while the service answers one: what lasts less than a second is measured badly. */
const BARE_FILES = 4;

const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: 'off,retrieve' },
    lines: { type: 'string', default: '20000' },
    questions: { type: 'string', default: '1500' },
    chunks: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '3' },
    concurrency: { type: 'string', default: '64' },
    /** Where BullMQ is installed. */
    bullmq: { type: 'string', default: import.meta.dirname },
    /** Where the profiles of the service's threads are left. */
    profile: { type: 'string' },
    json: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const parts: Readonly<Record<string, () => Promise<void>>> = {
  off: measureOff,
  retrieve: measureRetrieval,
  profile: profileOff,
};

await using opened = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
opened.defer(() => rmSync(folder, { recursive: true }));
const report = new FigureReport('what a line costs the service');
for (const name of values.profile === undefined ? values.parts.split(',') : ['profile']) {
  const part = parts[name];
  if (!part) throw new Error(`there is no part ${name}; there are ${Object.keys(parts).join()}`);
  await part();
}
report.write(values.json);

async function measureOff(): Promise<void> {
  await using model = await startInstantModel();
  await using own = new AsyncDisposableStack();
  const lines = Number(values.lines);
  const [path, warmUpPath] = [join(folder, 'lines.jsonl'), join(folder, 'warm-up.jsonl')];
  await writeFile(path, questionPieces(lines));
  await writeFile(warmUpPath, questionPieces(WARM_UP_LINES));
  const service = await startService(own, model, { RAG_MODE: 'off' });
  await answerByService(service.url, warmUpPath, WARM_UP_LINES);
  const pid = service.pid ?? 0;
  const running: Contender = {
    name: 'the service',
    processes: { service: pid },
    work: () => answerByService(service.url, path, lines),
    lines,
    costs: [],
  };
  const bare = own.use(await LoopProcess.start('bare-loop-process.ts', [model.url, values.concurrency]));
  await bare.answer(warmUpPath);
  const loop: Contender = {
    name: 'bare loop',
    processes: { loop: bare.pid },
    work: async () => {
      for (let file = 0; file < BARE_FILES; file += 1) await bare.answer(path);
    },
    lines: BARE_FILES * lines,
    costs: [],
  };
  const bullmq = await startBullMq(own, model);
  await bullmq?.loop.answer(warmUpPath);
  const queue = bullmq && {
    name: 'BullMQ worker',
    processes: bullmq.processes,
    work: async () => void (await bullmq.loop.answer(path)),
    lines,
    costs: [],
  };
  console.log(`\nrag_mode=off, ${lines} lines of 1 kB, ${values.concurrency} calls at a time, each round`);
  const threadsBefore = cpuMsByKind(pid);
  await takeTurns(queue ? [running, loop, queue] : [running, loop], rounds);
  const threads = [...cpuMsByKind(pid)].map(([name, ms]): Figure => {
    return figure(name, (1000 * (ms - (threadsBefore.get(name) ?? 0))) / (rounds * lines), 'µs a line');
  });
  const ratio = ratioOf(running, loop);
  report.table('rag_mode=off, medians of the rounds', [
    ...lineFigures(running),
    ...lineFigures(loop),
    figure('service / bare loop', ratio, '', { atMost: RATIO_MAX }),
    ...(queue ? [...lineFigures(queue), figure('service / BullMQ', ratioOf(running, queue))] : []),
  ]);
  report.table('the service by thread', threads);
}

async function profileOff(): Promise<void> {
  await using model = await startInstantModel();
  const path = join(folder, 'lines.jsonl');
  const lines = Number(values.lines);
  await writeFile(path, questionPieces(lines));
  await profileService({
    settings: { GPU_ENDPOINTS: model.url, GPU_CONCURRENCY: values.concurrency, RAG_MODE: 'off' },
    path,
    lines,
    folder: values.profile ?? folder,
  });
}

async function measureRetrieval(): Promise<void> {
  await using model = await startInstantModel();
  await using own = new AsyncDisposableStack();
  const lines = Number(values.questions);
  const corpus = await CorpusFile.write(join(folder, 'corpus.jsonl'), Number(values.chunks));
  const embedder = await corpus.embedder();
  const service = await startService(own, model, {
    RAG_MODE: 'retrieve',
    RAG_TOP_K: String(TOP_K),
    CORPUS_PATH: corpus.path,
  });
  const chroma = await ServiceChroma.of(service, embedder, TOP_K);
  // One set for the warm-up, and one for each round: what was asked before may be found faster.
  const asked = await corpus.questions(embedder, (rounds + 1) * lines);
  const setOf = (round: number) => asked.slice((round + 1) * lines, (round + 2) * lines);
  const byService = async (round: number) => {
    const path = join(folder, `questions-${round}.jsonl`);
    await writeFile(path, linesOf(setOf(round)));
    await answerByService(service.url, path, lines);
  };
  await byService(-1);
  const running: Contender = {
    name: 'the service',
    processes: { service: service.pid ?? 0, Chroma: chroma.pid },
    work: byService,
    lines,
    costs: [],
  };
  const loop: Contender = {
    name: 'bare loop',
    processes: { loop: process.pid, Chroma: chroma.pid },
    work: (round) => askChroma(chroma, setOf(round)),
    lines,
    costs: [],
  };
  console.log(`\nwith retrieval, ${values.chunks} chunks, ${lines} questions, each round`);
  await takeTurns([running, loop], rounds);
  const chromaUs = (contender: Contender) =>
    median(contender.costs.map(({ cpuUs }) => cpuUs.Chroma ?? Number.NaN));
  report.table('with retrieval, medians of the rounds', [
    ...lineFigures(running),
    ...lineFigures(loop),
    figure("Chroma's, service / bare loop", chromaUs(running) / chromaUs(loop)),
  ]);
}

async function startService(
  own: AsyncDisposableStack,
  model: InstantModel,
  settings: Readonly<Record<string, string>>,
): Promise<ServiceProcess> {
  const service = new ServiceProcess({
    GPU_ENDPOINTS: model.url,
    GPU_CONCURRENCY: values.concurrency,
    ...settings,
  });
  own.defer(() => service.stop());
  await service.ready(() => {});
  return service;
}

/** null, having said why: it is not there. */
async function startBullMq(own: AsyncDisposableStack, model: InstantModel) {
  const entry = bullMqEntry();
  if (entry === null || !hasRedis()) {
    const missing = [...(entry === null ? ['bullmq'] : []), ...(hasRedis() ? [] : ['redis-server'])];
    console.log(`\nskipped: the BullMQ worker, without ${missing.join(' and ')} on this machine`);
    return null;
  }
  const redis = own.use(await RedisServer.start(folder));
  const loopArguments = [model.url, values.concurrency, String(redis.port), entry];
  const loop = own.use(await LoopProcess.start('bullmq-process.ts', loopArguments));
  return { loop, processes: { worker: loop.pid, Redis: redis.pid } };
}

function bullMqEntry(): string | null {
  try {
    return createRequire(`${values.bullmq}/`).resolve('bullmq');
  } catch {
    return null;
  }
}

async function askChroma(chroma: ServiceChroma, asked: readonly Asked[]): Promise<void> {
  const open = [...asked];
  const run = async () => {
    for (let call = open.splice(0, VECTORS_A_CALL); call.length > 0; call = open.splice(0, VECTORS_A_CALL)) {
      await chroma.query(call.map(({ vector }) => vector));
    }
  };
  await Promise.all(Array.from({ length: CHROMA_CALLS }, run));
}

function* linesOf(asked: readonly Asked[]): Generator<string> {
  for (const [at, { query }] of asked.entries()) {
    yield `${JSON.stringify({ custom_id: String(at + 1), query })}\n`;
  }
}

async function writeFile(path: string, pieces: Iterable<string | Buffer>): Promise<void> {
  await pipeline(Readable.from(pieces), createWriteStream(path));
}

function lineFigures({ name, costs }: Contender): Figure[] {
  const processes = Object.keys(costs[0]?.cpuUs ?? {});
  return [
    ...processes.map((of) => {
      const value = median(costs.map(({ cpuUs }) => cpuUs[of] ?? Number.NaN));
      return figure(`${name}: processor time of ${of}`, value, 'µs a line');
    }),
    figure(`${name}: lines`, median(costs.map(({ linesPerSecond }) => linesPerSecond)), 'a second'),
  ];
}

/** Of the processor times, in the same round each. */
function ratioOf(one: Contender, other: Contender): number {
  const others = totals(other);
  return median(totals(one).map((us, round) => us / (others[round] ?? Number.NaN)));
}
