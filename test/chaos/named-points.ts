// F2: the service kills itself at a named point, while an upload is stored, while lines run, or while a batch is asked
// to change its ways. Then: what was acknowledged is there, the same upload under the same key is the same batch, and
// every line ends with exactly one record.

import { strict as assert } from 'node:assert';
import type { Chance } from './chance.ts';
import type { ChaosService } from './chaos-service.ts';
import { checkDeadDatabase } from './check-database.ts';
import type { Figures } from './figures.ts';
import type { KillPoint } from './kill-order.ts';
import type { KnownBatch, Request } from './known-batch.ts';
import { goodLines } from './marked-lines.ts';
import { type BatchObject, Oracle } from './oracle.ts';
import { request } from './requests.ts';
import type { Surroundings } from './surroundings.ts';
import { attempt, send } from './upload.ts';

export interface NamedPoint {
  readonly name: string;
  /** true: also in the slice that runs with the other tests. */
  readonly isInSlice?: boolean;
  readonly point: KillPoint;
  /** The passage at which the kill comes is chosen up to this one. */
  readonly passages?: number;
  /** What is asked of the batch, in turn, while its lines run; the last of them passes the point. */
  readonly requests?: readonly Request[];
}

export const NAMED_POINTS: readonly NamedPoint[] = [
  { name: 'the body of an upload was read', point: { at: 'upload', method: 'commit' } },
  ...around('commitUpload', 'an upload becomes a batch', { slice: ['before', 'after'] }),
  ...around('appendChunk', 'lines of an upload are stored'),
  ...around('claimChunk', 'a chunk is claimed', { passages: 2 }),
  {
    name: 'an answer is there, its record is not written',
    isInSlice: true,
    point: { at: 'record', method: 'add' },
    passages: 300,
  },
  ...around('appendRecords', 'records are written', { passages: 10, slice: ['after'] }),
  {
    name: 'in the middle of a checkpoint',
    isInSlice: true,
    point: { at: 'checkpoint', of: 'appendRecords' },
    passages: 10,
  },
  ...around('markStarted', 'lines are marked as started', { passages: 10 }),
  ...around('pauseBatch', 'a batch is paused', { requests: ['pause'] }),
  ...around('resumeBatch', 'a batch is resumed', { requests: ['pause', 'resume'] }),
  ...around('requestCancel', 'a batch is cancelled', { requests: ['cancel'] }),
  ...around('retryBatch', 'a batch is run again', { requests: ['cancel', 'retry'], slice: ['after'] }),
  ...around('deleteBatch', 'a batch is deleted', { requests: ['cancel', 'delete'] }),
  {
    name: 'a deleted batch is removed bit by bit',
    isInSlice: true,
    point: { at: 'commit', of: 'deleteBatch', when: 'before', later: 1 },
    requests: ['cancel', 'delete'],
  },
];

function around(
  of: Extract<KillPoint, { at: 'commit' }>['of'],
  what: string,
  { slice = [], ...more }: Pick<NamedPoint, 'passages' | 'requests'> & { slice?: readonly string[] } = {},
): NamedPoint[] {
  const when = ['before', 'during', 'after'] as const;
  return when.map((time) => ({
    name: `${what}: ${time} the commit`,
    point: { at: 'commit', of, when: time },
    isInSlice: slice.includes(time),
    ...more,
  }));
}

/** More than one chunk. */
const LINES = 300;
/** About what a commit or a checkpoint takes here. */
const WITHIN_MICROSECONDS = 3_000;

let lastBatch = 0;

export async function killAtPoint(
  { server, open }: Surroundings,
  named: NamedPoint,
  { chance, figures }: { chance: Chance; figures: Figures },
): Promise<void> {
  server.delayMs = 5;
  const oracle = new Oracle(server);
  await using service = open({ GPU_CONCURRENCY: '16' });
  const passage = 1 + chance.below(named.passages ?? 1);
  await service.start({ kill: { ...named.point, passage, withinMicroseconds: WITHIN_MICROSECONDS } });
  lastBatch += 1;
  const sent = attempt(goodLines(`p${lastBatch}`, LINES));
  const idempotencyKey = sent.tag;
  const answer = await send(service, sent, { idempotencyKey });
  if (answer?.status === 201) {
    const known = oracle.acknowledged(sent, JSON.parse(answer.text) as BatchObject);
    for (const asked of named.requests ?? []) await askInTurn(service, oracle, known, asked);
  } else {
    assert.equal(answer, null, answer?.text);
    oracle.lostUploads.set(sent.tag, sent);
  }
  await service.died();
  figures.rounds += 1;
  figures.kills += 1;
  checkDeadDatabase(service, oracle);

  figures.readyMs.push(await service.start());
  await oracle.restarted(service);
  if (oracle.batches.size === 0) {
    const again = await send(service, sent, { idempotencyKey });
    assert.equal(again?.status, 201, again?.text);
    oracle.acknowledged(sent, JSON.parse(again?.text ?? '') as BatchObject);
  }
  assert.equal(oracle.batches.size, 1);
  for (const known of oracle.batches.values()) {
    if (known.status === 'paused') await request(service, oracle, known, { request: 'resume' });
    if (known.status !== 'gone') await follow(service, oracle, known);
  }
  figures.batchesAcknowledged += 1;
  figures.linesAcknowledged += LINES;
}

/** A retry and a delete wait until the batch has ended. */
async function askInTurn(
  service: ChaosService,
  oracle: Oracle,
  known: KnownBatch,
  asked: Request,
): Promise<void> {
  if (asked === 'retry' || asked === 'delete') await follow(service, oracle, known);
  await request(service, oracle, known, { request: asked });
}

/** To the end of the batch, by the stream that ends with it. */
async function follow(service: ChaosService, oracle: Oracle, known: KnownBatch): Promise<void> {
  assert.ok(await service.ask('GET', `/batches/${known.id}/results`));
  await oracle.checkBatch(service, known);
  assert.ok(known.isFinished, `${known.id}: its stream has ended, and it is ${known.status}`);
}
