// Uploads of the campaigns.

import { strict as assert } from 'node:assert';
import type { Answer, ChaosService } from './chaos-service.ts';
import type { Behaviour, KnownBatch } from './known-batch.ts';
import type { MarkedLine } from './marked-lines.ts';
import { type BatchObject, type Oracle, type UploadAttempt, whole } from './oracle.ts';

const NDJSON = { 'content-type': 'application/x-ndjson' };

let lastTag = 0;

/** An attempt that the oracle can find again by its tag. */
export function attempt(
  lines: readonly MarkedLine[],
  behaviour: Behaviour = { pausesByItself: false, expires: false },
): UploadAttempt {
  lastTag += 1;
  return { tag: `${process.pid}-${lastTag}`, lines, behaviour };
}

export function send(
  service: ChaosService,
  { tag, lines }: UploadAttempt,
  given: { readonly options?: Readonly<Record<string, string>>; readonly idempotencyKey?: string } = {},
): Promise<Answer | null> {
  const query = new URLSearchParams({ ...given.options, metadata: JSON.stringify({ tag }) });
  const key = given.idempotencyKey === undefined ? {} : { 'idempotency-key': given.idempotencyKey };
  return service.ask('POST', `/batches?${query}`, {
    headers: { ...NDJSON, ...key },
    body: lines.map(({ text }) => text).join('\n'),
  });
}

/** Uploads and expects the 201. */
export async function upload(
  service: ChaosService,
  oracle: Oracle,
  lines: readonly MarkedLine[],
): Promise<KnownBatch> {
  const sent = attempt(lines);
  const answer = whole(await send(service, sent));
  assert.equal(answer.status, 201, answer.text);
  return oracle.acknowledged(sent, JSON.parse(answer.text) as BatchObject);
}
