// How soon a service that was killed in the middle of a batch brings the next result: from the start of the new process to
// the first new line that a client reads; and where the time goes. The corpus is the demo's.
//
//   npm run bench:recovery [-- --rounds=10 --json=<file>]

import { readFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { freePort } from './parts/free-port.ts';
import { type InstantModel, startInstantModel } from './parts/instant-model.ts';
import { median } from './parts/median.ts';
import { cpuMs } from './parts/process-figures.ts';
import { questionPieces } from './parts/question-lines.ts';
import { FigureReport, figure } from './parts/report.ts';
import { upload } from './parts/upload.ts';

/** Enough for every round, at 8 answers in 20 ms. */
const BATCH_LINES = 50_000;
const ANSWER_MS = 20;
const POLL_INTERVAL_MS = 10;

/** Milliseconds from the start of the process; processor time of all its threads, which other programs do not prolong. */
type Round = Readonly<Record<(typeof STEPS)[number], number>>;
const STEPS = ['listening', 'Chroma serves', 'ready', 'first new result', 'processor time'] as const;

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, json: { type: 'string' } },
});

await using model = await startInstantModel(ANSWER_MS);
const settings = {
  GPU_ENDPOINTS: model.url,
  GPU_CONCURRENCY: '8',
  RESET_COLLECTION: 'if-changed',
  PORT: String(await freePort()),
};
const report = new FigureReport('the way back from SIGKILL');
let service = new ServiceProcess(settings);
try {
  await service.ready(() => {});
  const id = await upload(service.url, { form: 'raw', pieces: questionPieces(BATCH_LINES) });
  const url = `${service.url}/batches/${id}`;
  const rounds: Round[] = [];
  while (rounds.length < Number(values.rounds)) {
    const lastSeq = await killInMidBatch(service, url, model);
    const startedAtMs = Date.now();
    service = new ServiceProcess(settings, { folder: service.folder });
    await firstResultAfter(url, lastSeq);
    rounds.push(roundOf(startedAtMs, Date.now(), cpuMs(service.pid ?? 0)));
    await service.ready(() => {});
  }
  report.table(
    `${rounds.length} kills in mid batch`,
    STEPS.flatMap((step) => {
      const times = rounds.map((round) => round[step]);
      return [
        figure(`${step}, median`, median(times), 'ms'),
        figure(`${step}, at most`, Math.max(...times), 'ms'),
      ];
    }),
  );
  report.write(values.json);
} finally {
  await service.stop();
}

/** Kills it while lines are with the model server and answers the last seq that was stored before. */
async function killInMidBatch(victim: ServiceProcess, url: string, held: InstantModel): Promise<number> {
  const begin = await lastSeqOf(url);
  while ((await lastSeqOf(url)) < begin + 100) await sleep(POLL_INTERVAL_MS);
  // With the model held up, no further result comes: what is new afterwards is known.
  held.hold();
  let lastSeq = -1;
  for (let seen = await lastSeqOf(url); seen !== lastSeq; seen = await lastSeqOf(url)) {
    lastSeq = seen;
    await sleep(500);
  }
  await victim.end('SIGKILL');
  held.resume();
  return lastSeq;
}

async function lastSeqOf(url: string): Promise<number> {
  const batch = (await (await fetch(url)).json()) as { status: string; last_seq: number };
  if (batch.status !== 'in_progress') throw new Error(`the batch is ${batch.status}: too few lines`);
  return batch.last_seq;
}

/** Asks again and again, as a client would whose connection broke. */
async function firstResultAfter(url: string, seq: number): Promise<void> {
  for (;;) {
    const response = await new Promise<IncomingMessage | null>((resolve) => {
      get(`${url}/results?after=${seq}`, resolve).on('error', () => resolve(null));
    });
    if (response === null) {
      await sleep(POLL_INTERVAL_MS);
      continue;
    }
    for await (const _piece of response) return;
    throw new Error(`the stream ended without a result: ${response.statusCode}`);
  }
}

function roundOf(startedAtMs: number, firstResultAtMs: number, usedMs: number): Round {
  const entries = readFileSync(service.logPath, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { msg: string; time: number });
  const timeOf = (message: string) =>
    (entries.find(({ msg }) => msg === message)?.time ?? Number.NaN) - startedAtMs;
  return {
    listening: timeOf('listening'),
    'Chroma serves': timeOf('embedded Chroma is serving'),
    ready: timeOf('ready'),
    'first new result': firstResultAtMs - startedAtMs,
    'processor time': usedMs,
  };
}
