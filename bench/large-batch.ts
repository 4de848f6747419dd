// A batch of a million lines: what the service's process needs of memory while it takes the upload, raw and as a form,
// and while it runs the batch to its end against a model server that answers at once; and whether the last lines cost
// as much as the first.
//
//   npm run bench:large-batch [-- --lines=1000000 --run-lines=1000000 --window=64]

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { startInstantModel } from './parts/instant-model.ts';
import { cpuMs, peakResidentMb, resetPeak, residentMb } from './parts/process-figures.ts';
import { questionPieces } from './parts/question-lines.ts';
import { machine, report } from './parts/report.ts';
import { type UploadForm, upload } from './parts/upload.ts';

interface Sample {
  readonly atMs: number;
  readonly lines: number;
  readonly cpuMs: number;
  readonly residentMb: number;
}

interface BatchState {
  readonly status: string;
  readonly last_seq: number;
}

const SAMPLE_INTERVAL_MS = 500;
/** Nobody listens there: an upload is measured without anything running. */
const NO_ENDPOINT = 'http://127.0.0.1:9';

const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '1000000' },
    'run-lines': { type: 'string' },
    window: { type: 'string', default: '64' },
  },
});
const uploadLines = Number(values.lines);
const runLines = Number(values['run-lines'] ?? values.lines);

console.log(machine());
for (const form of ['raw', 'multipart'] as const) await measureUpload(form);
await measureRun();

async function measureUpload(form: UploadForm): Promise<void> {
  const service = new ServiceProcess({ GPU_ENDPOINTS: NO_ENDPOINT, RAG_MODE: 'off' });
  try {
    const pid = await readyPid(service);
    const idleMb = residentMb(pid);
    const before = { cpuMs: cpuMs(pid), atMs: performance.now() };
    resetPeak(pid);
    await upload(service.url, { form, pieces: questionPieces(uploadLines) });
    const seconds = (performance.now() - before.atMs) / 1000;
    report(`upload, ${form}`, [
      ['lines', `${uploadLines}`],
      ['idle before', `${idleMb.toFixed(0)} MB`],
      ['peak resident memory', `${peakResidentMb(pid).toFixed(0)} MB`],
      ['seconds', seconds.toFixed(1)],
      ['lines per second', (uploadLines / seconds).toFixed(0)],
      ['processor time per line', `${perLineUs(cpuMs(pid) - before.cpuMs, uploadLines)} µs`],
    ]);
  } finally {
    await service.stop();
  }
}

async function measureRun(): Promise<void> {
  await using model = await startInstantModel();
  const service = new ServiceProcess({
    GPU_ENDPOINTS: model.url,
    GPU_CONCURRENCY: values.window,
    RAG_MODE: 'off',
  });
  try {
    const pid = await readyPid(service);
    // Uploaded in full before it is measured: `samples` begin where the upload has ended.
    const id = await upload(service.url, { form: 'raw', pieces: questionPieces(runLines) });
    resetPeak(pid);
    const samples = await sampleUntilEnd(service.url, id, pid);
    reportRun(samples, peakResidentMb(pid));
  } finally {
    await service.stop();
  }
}

async function readyPid(service: ServiceProcess): Promise<number> {
  await service.ready(() => {});
  if (service.pid === undefined) throw new Error('the service has no process');
  return service.pid;
}

async function sampleUntilEnd(url: string, id: string, pid: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (;;) {
    const batch = (await (await fetch(`${url}/batches/${id}`)).json()) as BatchState;
    samples.push({
      atMs: performance.now(),
      lines: batch.last_seq,
      cpuMs: cpuMs(pid),
      residentMb: residentMb(pid),
    });
    if (batch.status === 'completed') return samples;
    await sleep(SAMPLE_INTERVAL_MS);
  }
}

function reportRun(samples: readonly Sample[], peakMb: number): void {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last) throw new Error('nothing was measured');
  const second = cpuUsPerLine(samples, 0.1, 0.2);
  const final = cpuUsPerLine(samples, 0.9, 1);
  const lines = last.lines - first.lines;
  report('run, rag_mode=off, instant model server', [
    ['lines', `${lines} (of ${runLines}, the others ran during the upload)`],
    ['peak resident memory', `${peakMb.toFixed(0)} MB`],
    ['resident memory by tenths', tenths(samples).join(' ')],
    ['slope from the second tenth on', `${slopeMb(samples).toFixed(1)} MB per 100,000 lines`],
    ['lines per second', ((1000 * lines) / (last.atMs - first.atMs)).toFixed(0)],
    ['processor time per line', `${perLineUs(last.cpuMs - first.cpuMs, lines)} µs`],
    ['  second tenth', `${second.toFixed(0)} µs`],
    ['  last tenth', `${final.toFixed(0)} µs, ${(final / second).toFixed(2)} of the second tenth`],
  ]);
}

/** Processor time per line between two parts of the lines that were measured. */
function cpuUsPerLine(samples: readonly Sample[], from: number, to: number): number {
  const begin = sampleAt(samples, from);
  const end = sampleAt(samples, to);
  return (1000 * (end.cpuMs - begin.cpuMs)) / (end.lines - begin.lines);
}

/** The first sample with that part of the lines done. */
function sampleAt(samples: readonly Sample[], part: number): Sample {
  const first = samples[0]?.lines ?? 0;
  const last = samples.at(-1)?.lines ?? 0;
  const found = samples.find(({ lines }) => lines >= first + part * (last - first));
  if (!found) throw new Error('nothing was measured');
  return found;
}

function tenths(samples: readonly Sample[]): string[] {
  return Array.from({ length: 10 }, (_, index) => sampleAt(samples, (index + 1) / 10).residentMb.toFixed(0));
}

/** Least squares of resident memory over lines, without the first tenth, in which caches fill. */
function slopeMb(samples: readonly Sample[]): number {
  const { lines: begin } = sampleAt(samples, 0.1);
  const points = samples.filter(({ lines }) => lines >= begin);
  const mean = (value: (sample: Sample) => number) =>
    points.reduce((sum, sample) => sum + value(sample), 0) / points.length;
  const meanLines = mean(({ lines }) => lines);
  const meanMb = mean((sample) => sample.residentMb);
  const covariance = mean((sample) => (sample.lines - meanLines) * (sample.residentMb - meanMb));
  return (100_000 * covariance) / mean(({ lines }) => (lines - meanLines) ** 2);
}

function perLineUs(milliseconds: number, lines: number): string {
  return ((1000 * milliseconds) / lines).toFixed(0);
}
