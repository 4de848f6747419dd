// What must be true of a service, whatever was done to it: the batches it acknowledged, the uploads whose answer was
// lost, and the checks over its API. The checks over the file of a dead process are in check-database.ts.

import { strict as assert } from 'node:assert';
import type { Answer, ChaosService } from './chaos-service.ts';
import { type CurrentRecords, checkLog } from './check-log.ts';
import type { CountingModelServer } from './counting-model-server.ts';
import type { Behaviour } from './known-batch.ts';
import { isFinished, KnownBatch, type Request, type Status } from './known-batch.ts';
import type { MarkedLine } from './marked-lines.ts';

export interface BatchObject {
  readonly id: string;
  readonly status: Exclude<Status, 'gone'>;
  readonly last_seq: number;
  readonly request_counts: { readonly total: number; readonly completed: number; readonly failed: number };
  readonly line_counts: Readonly<Record<string, number>>;
  readonly metadata: Readonly<Record<string, string>> | null;
}

/** An upload on its way. Its tag stands in the batch's metadata, so that it is found again without its answer. */
export interface UploadAttempt {
  readonly tag: string;
  readonly lines: readonly MarkedLine[];
  readonly behaviour: Behaviour;
}

export class Oracle {
  readonly server: CountingModelServer;
  readonly batches = new Map<string, KnownBatch>();
  /** By tag: sent, and the answer never came. There may be a batch, whole, or nothing at all. */
  readonly lostUploads = new Map<string, UploadAttempt>();

  constructor(server: CountingModelServer) {
    this.server = server;
  }

  /** A 201: from now on the batch must be there. */
  acknowledged(upload: UploadAttempt, batch: BatchObject): KnownBatch {
    const known = new KnownBatch(batch.id, upload.lines, upload.behaviour);
    this.batches.set(batch.id, known);
    this.lostUploads.delete(upload.tag);
    this.observe(known, batch);
    return known;
  }

  /** A batch object, however it was come by. I2 and the order of statuses. */
  observe(known: KnownBatch, batch: BatchObject, asked: readonly Request[] = []): void {
    const what = `${batch.id}: ${JSON.stringify(batch)}`;
    const sum = Object.values(batch.line_counts).reduce((total, count) => total + count, 0);
    assert.equal(sum, known.lines.length, `the counts are not the total: ${what}`);
    for (const count of Object.values(batch.line_counts)) assert.ok(count >= 0, what);
    assert.equal(batch.request_counts.total, known.lines.length, what);
    assert.ok(batch.last_seq >= known.published.length, `the log has shrunk: ${what}`);
    const reachable = known.reachable(asked);
    assert.ok(
      reachable.has(batch.status),
      `from ${known.status} (asked: ${[...asked, ...known.unanswered]}): ${what}`,
    );
    known.status = batch.status;
    if (!isFinished(batch.status)) return;
    assert.equal(openLines(batch), 0, `finished with open lines: ${what}`);
    known.runEnds.add(batch.last_seq);
  }

  /** It was deleted, and stays so. */
  observeGone(known: KnownBatch, asked: readonly Request[] = []): void {
    assert.ok(known.reachable(asked).has('gone'), `${known.id} is gone, though it was ${known.status}`);
    known.status = 'gone';
  }

  /** Looks at every batch that is known, and at those whose upload was never answered. */
  async checkApi(service: ChaosService): Promise<void> {
    await this.findLostUploads(service);
    for (const known of this.batches.values()) await this.checkBatch(service, known);
  }

  /** The batch and its whole log, read in two pieces. */
  async checkBatch(service: ChaosService, known: KnownBatch): Promise<CurrentRecords | null> {
    const first = whole(await service.ask('GET', `/batches/${known.id}`));
    if (first.status === 404 || first.status === 410) {
      this.observeGone(known);
      return null;
    }
    assert.equal(first.status, 200, first.text);
    const batch = JSON.parse(first.text) as BatchObject;
    this.observe(known, batch);
    const log = await readLog(service, known.id, 0);
    const split = Math.floor(Math.random() * (log.length + 1));
    const rest = await readLog(service, known.id, split);
    assert.deepEqual(rest.slice(0, log.length - split), log.slice(split), `${known.id}: a split at ${split}`);
    assert.ok(log.length >= batch.last_seq, `${known.id}: its log is shorter than its last_seq`);
    const current = checkLog(known, log, this.server);
    if (isFinished(batch.status)) checkFinished(known, batch, current, log.length);
    return current;
  }

  /** Uploads whose answer was lost are there as a whole, or not at all. */
  async findLostUploads(service: ChaosService): Promise<void> {
    if (this.lostUploads.size === 0) return;
    for (const batch of await listBatches(service)) {
      const upload = this.lostUploads.get(batch.metadata?.tag ?? '');
      if (upload && !this.batches.has(batch.id)) this.acknowledged(upload, batch);
    }
    // The process that could still commit them is dead.
    this.lostUploads.clear();
  }

  /** No batch that nobody asked for. */
  async checkNoStrangers(service: ChaosService): Promise<void> {
    for (const batch of await listBatches(service)) {
      assert.ok(this.batches.has(batch.id), `a batch that nobody uploaded: ${JSON.stringify(batch)}`);
    }
  }

  /** A new life has begun: whatever was not answered has been done by now, or never will be. */
  async restarted(service: ChaosService): Promise<void> {
    await this.checkApi(service);
    await this.checkNoStrangers(service);
    for (const known of this.batches.values()) known.unanswered.clear();
  }
}

/** Every line has its record, and the counts are those of the current records. */
function checkFinished(
  known: KnownBatch,
  batch: BatchObject,
  current: CurrentRecords,
  logLength: number,
): void {
  assert.equal(logLength, batch.last_seq, `${known.id}: records after the end`);
  assert.equal(current.size, known.lines.length, `${known.id}: finished, and lines have no record`);
  const counts: Record<string, number> = {};
  for (const { status } of current.values()) counts[status] = (counts[status] ?? 0) + 1;
  for (const status of ['succeeded', 'failed', 'cancelled', 'expired']) {
    assert.equal(batch.line_counts[status] ?? 0, counts[status] ?? 0, `${known.id}: ${status} lines`);
  }
  assert.equal(batch.request_counts.completed, counts.succeeded ?? 0, `${known.id}: completed requests`);
}

function openLines({ line_counts }: BatchObject): number {
  return (line_counts.queued ?? 0) + (line_counts.leased ?? 0);
}

export async function readLog(service: ChaosService, id: string, after: number): Promise<string[]> {
  const answer = whole(await service.ask('GET', `/batches/${id}/results?follow=false&after=${after}`));
  assert.equal(answer.status, 200, answer.text);
  return answer.text.split('\n').slice(0, -1);
}

async function listBatches(service: ChaosService): Promise<BatchObject[]> {
  const batches: BatchObject[] = [];
  for (let after = ''; ; ) {
    const answer = whole(await service.ask('GET', `/batches?limit=100${after}`));
    const page = JSON.parse(answer.text) as { data: BatchObject[]; has_more: boolean; last_id: string };
    batches.push(...page.data);
    if (!page.has_more) return batches;
    after = `&after=${page.last_id}`;
  }
}

/** For a service that nobody is killing: every answer must come. */
export function whole(answer: Answer | null): Answer {
  assert.ok(answer, 'the service did not answer');
  return answer;
}
