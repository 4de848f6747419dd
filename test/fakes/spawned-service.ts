// The service as a process of its own, and what tests ask it over HTTP.

import type { Test } from 'tap';
import { ServiceProcess } from '../../src/cli/service-process.ts';
import { type BatchAnswer, corpusFile, type ResultLine } from './running-service.ts';

export const QUIET = () => {};
const NDJSON = { 'content-type': 'application/x-ndjson' };

/** Starts it; in the folder of an earlier process it goes on with that one's data. It stops with the test. */
export function spawnService(
  t: Test,
  settings: Readonly<Record<string, string>>,
  folder?: string,
): ServiceProcess {
  const options = folder === undefined ? {} : { folder };
  const service = new ServiceProcess(
    { CORPUS_PATH: corpusFile(t), GENERATION_THREADS: '1', ...settings },
    options,
  );
  t.teardown(() => service.stop());
  return service;
}

export function post(service: ServiceProcess, lines: string): Promise<Response> {
  return fetch(`${service.url}/batches`, { method: 'POST', headers: NDJSON, body: lines });
}

/** Answers the id of the batch. */
export async function upload(service: ServiceProcess, lines: string): Promise<string> {
  return ((await (await post(service, lines)).json()) as { id: string }).id;
}

export async function readBatch(service: ServiceProcess, id: string): Promise<BatchAnswer> {
  return (await (await fetch(`${service.url}/batches/${id}`)).json()) as BatchAnswer;
}

/** The whole log, waiting until the batch ends; with `?follow=false` what is there now. */
export async function readResults(service: ServiceProcess, id: string, query = ''): Promise<ResultLine[]> {
  const text = await (await fetch(`${service.url}/batches/${id}/results${query}`)).text();
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ResultLine);
}
