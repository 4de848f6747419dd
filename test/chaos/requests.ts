// What is asked of a batch, and what the oracle makes of the answer.

import { strict as assert } from 'node:assert';
import type { ChaosService } from './chaos-service.ts';
import type { KnownBatch, Request } from './known-batch.ts';
import type { BatchObject, Oracle } from './oracle.ts';

/** Asks; without an answer the oracle keeps in mind that it may have been done. */
export async function request(
  service: ChaosService,
  oracle: Oracle,
  known: KnownBatch,
  { request: asked, filter }: { readonly request: Request; readonly filter?: object | null },
): Promise<void> {
  const wasFinished = known.isFinished;
  const answer = await (asked === 'delete'
    ? service.ask('DELETE', `/batches/${known.id}`)
    : service.ask('POST', `/batches/${known.id}/${asked}`, bodyOf(filter)));
  if (asked === 'retry' && !wasFinished && answer?.status !== 409) known.hasUnseenRunEnd = true;
  if (answer === null) known.unanswered.add(asked);
  else if (answer.status === 200) oracle.observe(known, JSON.parse(answer.text) as BatchObject, [asked]);
  else if (answer.status === 204) oracle.observeGone(known, [asked]);
  else if (answer.status === 404 || answer.status === 410) oracle.observeGone(known);
  else {
    assert.equal(answer.status, 409, answer.text);
    assert.ok(!(asked === 'delete' && wasFinished), `a finished batch could not be deleted: ${answer.text}`);
  }
}

function bodyOf(filter: object | null | undefined): RequestInit {
  if (filter === null || filter === undefined) return {};
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(filter) };
}
