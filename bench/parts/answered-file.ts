// A file of questions sent through the service: uploaded, run, its results read while they are made.

import { createReadStream } from 'node:fs';
import { upload } from './upload.ts';

const NEWLINE = 10;

interface BatchCounts {
  readonly request_counts: { readonly completed: number };
}

/** Resolves when the client has read the last result. Throws unless so many lines were answered. */
export async function answerByService(serviceUrl: string, path: string, lines: number): Promise<void> {
  const id = await upload(serviceUrl, { form: 'raw', pieces: createReadStream(path) });
  const batchUrl = `${serviceUrl}/batches/${id}`;
  const stream = await fetch(`${batchUrl}/results`);
  if (!stream.body) throw new Error(`no results: ${stream.status}`);
  let results = 0;
  for await (const bytes of stream.body) results += newlinesIn(bytes);
  const { request_counts: counts } = (await (await fetch(batchUrl)).json()) as BatchCounts;
  if (results !== lines || counts.completed !== lines) {
    throw new Error(`of ${lines} lines ${results} have a result: ${JSON.stringify(counts)}`);
  }
}

function newlinesIn(bytes: Uint8Array): number {
  let found = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) found += 1;
  return found;
}
