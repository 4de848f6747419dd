// A batch of a million lines: what the service's process needs of memory while it takes the upload, raw and as a form,
// while it runs the batch to its end against a model server that answers at once, and while all results are downloaded; how
// fast it takes and gives; and whether the last lines cost as much as the first.
//
//   npm run bench:large-batch [-- --lines=1000000 --run-lines=1000000 --window=64 --json=<file>]

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { startInstantModel } from './parts/instant-model.ts';
import { cpuMs, peakResidentMb, resetPeak, residentMb } from './parts/process-figures.ts';
import { questionPieces } from './parts/question-lines.ts';
import { FigureReport, figure } from './parts/report.ts';
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
    json: { type: 'string' },
  },
});
const uploadLines = Number(values.lines);
const runLines = Number(values['run-lines'] ?? values.lines);

const report = new FigureReport('a large batch');
for (const form of ['raw', 'multipart'] as const) await measureUpload(form);
await measureRun();
report.write(values.json);

async function measureUpload(form: UploadForm): Promise<void> {
  const service = new ServiceProcess({ GPU_ENDPOINTS: NO_ENDPOINT, RAG_MODE: 'off' });
  try {
    const pid = await readyPid(service);
    const idleMb = residentMb(pid);
    const before = { cpuMs: cpuMs(pid), atMs: performance.now() };
    resetPeak(pid);
    await upload(service.url, { form, pieces: questionPieces(uploadLines) });
    const seconds = (performance.now() - before.atMs) / 1000;
    const usedMs = cpuMs(pid) - before.cpuMs;
    report.table(`intake, ${form}`, [
      figure('lines of 1 kB', uploadLines),
      figure('resident memory before', idleMb, 'MB'),
      figure('peak resident memory', peakResidentMb(pid), 'MB'),
      figure('time', seconds, 's'),
      figure('lines', uploadLines / seconds, 'a second'),
      figure('processor time', perLineUs(usedMs, uploadLines), 'µs a line'),
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
    await measureDownload(`${service.url}/batches/${id}/results?follow=false`, pid);
  } finally {
    await service.stop();
  }
}

/** Of all results of a batch that has ended. */
async function measureDownload(url: string, pid: number): Promise<void> {
  const before = { cpuMs: cpuMs(pid), atMs: performance.now() };
  resetPeak(pid);
  const { body, status } = await fetch(url);
  if (!body) throw new Error(`no results: ${status}`);
  let bytes = 0;
  for await (const piece of body) bytes += piece.length;
  const seconds = (performance.now() - before.atMs) / 1000;
  report.table('download of all results', [
    figure('size', bytes / 1e6, 'MB'),
    figure('peak resident memory', peakResidentMb(pid), 'MB'),
    figure('time', seconds, 's'),
    figure('lines', runLines / seconds, 'a second'),
    figure('rate', bytes / 1e6 / seconds, 'MB/s'),
    figure('processor time', perLineUs(cpuMs(pid) - before.cpuMs, runLines), 'µs a line'),
  ]);
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
  report.table('run, rag_mode=off, instant model server', [
    figure('lines of the batch', runLines),
    figure('lines run after the upload', lines),
    figure('peak resident memory', peakMb, 'MB'),
    figure('resident memory after a tenth', sampleAt(samples, 0.1).residentMb, 'MB'),
    figure('resident memory at the end', last.residentMb, 'MB'),
    figure('slope from the second tenth on', slopeMb(samples), 'MB for 100,000 lines'),
    figure('lines', (1000 * lines) / (last.atMs - first.atMs), 'a second'),
    figure('processor time', perLineUs(last.cpuMs - first.cpuMs, lines), 'µs a line'),
    figure('processor time, second tenth', second, 'µs a line'),
    figure('processor time, last tenth', final, 'µs a line'),
    figure('last tenth / second tenth', final / second),
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

function perLineUs(milliseconds: number, lines: number): number {
  return (1000 * milliseconds) / lines;
}
