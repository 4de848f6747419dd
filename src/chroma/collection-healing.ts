// What became of a collection that answered "not found" or nothing at all, and what is to be done about it.
//
// 1. What is there and complete is used: the same build, or one that was made again of the same.
// 2. What is gone, emptied or incomplete is built anew, after a moment: whoever has deleted it may be filling it again.
// 3. What is somebody else's is not touched, and not used: that is an outage until it is gone.

import type { BaseLogger } from 'pino';
import { RagmillError } from '../errors.ts';
import type { Clock } from '../time.ts';
import type { Bootstrap } from './bootstrap.ts';
import { BoundCollection } from './bound-collection.ts';
import { type CallLimits, type ChromaConnection, type ChromaResult, failure } from './chroma-client.ts';
import { notOwned } from './collection-swap.ts';
import { inspectOwnership } from './ownership.ts';
import type { ReadyCollection } from './ready-collection.ts';
import type { RebuildPace } from './rebuild-pace.ts';

export interface HealingOptions {
  readonly connection: ChromaConnection;
  readonly bootstrap: Pick<Bootstrap, 'adopt' | 'rebuild' | 'rebuilding'>;
  readonly ownerId: string;
  /** It is somebody else's: whatever is under the name now is used, and nothing is built. */
  readonly isAttached: boolean;
  /** It does not answer, however complete it looks. */
  readonly isCondemned: boolean;
  readonly pace: RebuildPace;
  readonly limits: CallLimits;
  readonly clock: Clock;
  readonly log: BaseLogger;
  readonly signal: AbortSignal;
}

type Finding =
  | { readonly kind: 'usable'; readonly uuid: string }
  | { readonly kind: 'broken'; readonly what: string; readonly count: number };

/** A re-creation by another client takes a moment; while it grows, it is waited for. In milliseconds. */
const settleMs = 1_000;
const settlePollMs = 100;
/** One that never comes to rest is not waited for longer. */
const settleMaxMs = 120_000;
/** How long Chroma may be away in the midst of a rebuild before that counts as an outage. */
const rebuildPatienceMs = 5_000;

/** The build to use from now on. Never rejects: what cannot be healed now is a failure to be tried again later. */
export async function healCollection(
  stale: ReadyCollection,
  options: HealingOptions,
): Promise<ChromaResult<ReadyCollection>> {
  const { bootstrap, isAttached, log, signal } = options;
  try {
    if (isAttached) return await buildAnew(options, null);
    const found = await settled(stale, options);
    if (found.kind === 'failure') return found;
    const { value } = found;
    if (value.kind === 'broken') return await buildAnew(options, value.what);
    if (value.uuid === stale.record.uuid) return { kind: 'ok', value: stale };
    if (bootstrap.rebuilding !== null) {
      // It puts another build in this place; where it fails, what is there then is looked at again.
      const rebuilt = await bootstrap.rebuilding.catch(() => null);
      return rebuilt === null ? healCollection(stale, options) : { kind: 'ok', value: rebuilt };
    }
    log.warn({ from: stale.record.uuid, to: value.uuid }, 'the collection was made anew, using the new one');
    return { kind: 'ok', value: await bootstrap.adopt(stale, value.uuid) };
  } catch (error) {
    if (signal.aborted) return failure('cancelled', 'The service is stopping');
    const message = error instanceof Error ? error.message : String(error);
    const isForeign = error instanceof RagmillError && error.code === 'collection_not_owned';
    if (!(error instanceof RagmillError)) log.error({ err: error }, 'the collection could not be healed');
    return failure(isForeign ? 'not_owned' : 'not_found', message);
  }
}

/** `what`: what is wrong with the one that is to be replaced; null: nobody has looked. Rejects as rebuild() does. */
async function buildAnew(
  { bootstrap, isCondemned, pace, log, signal }: HealingOptions,
  what: string | null,
): Promise<ChromaResult<ReadyCollection>> {
  const { obstacle } = pace;
  if (obstacle !== null && bootstrap.rebuilding === null) return failure('not_found', obstacle);
  if (what !== null) log.warn({ what }, 'the collection is built anew');
  try {
    const value = await bootstrap.rebuild(rebuildPatienceMs, signal);
    if (isCondemned && what !== null) pace.wasInVain(what);
    return { kind: 'ok', value };
  } catch (error) {
    pace.wasInVain(error instanceof Error ? error.message : String(error));
    throw error;
  }
}

/** What is there once nobody has changed it for a while. */
async function settled(stale: ReadyCollection, options: HealingOptions): Promise<ChromaResult<Finding>> {
  const { clock, signal } = options;
  const sinceMs = clock.monotonicMs();
  let unchangedSinceMs = sinceMs;
  let before = -1;
  for (;;) {
    const found = await inspect(stale, options);
    if (found.kind === 'failure' || found.value.kind === 'usable') return found;
    if (found.value.count !== before) unchangedSinceMs = clock.monotonicMs();
    before = found.value.count;
    const nowMs = clock.monotonicMs();
    if (nowMs - unchangedSinceMs >= settleMs || nowMs - sinceMs >= settleMaxMs) return found;
    await clock.sleep(settlePollMs, signal);
  }
}

async function inspect(
  { record, embedder }: ReadyCollection,
  { connection, ownerId, isCondemned, limits }: HealingOptions,
): Promise<ChromaResult<Finding>> {
  const found = await inspectOwnership(connection, record.name, ownerId, limits);
  if (found.kind === 'failure') return found;
  const there = found.value;
  if (there.kind === 'absent') return broken(`the collection "${record.name}" is gone`, 0);
  if (there.kind === 'foreign') return failure('not_owned', notOwned(record.name, there.count).message);
  const { uuid, count } = there;
  if (count === null) return broken(`the collection "${record.name}" cannot be read`, 0);
  if (there.kind === 'empty' || count === 0) return broken(`the collection "${record.name}" is empty`, 0);
  if (count < record.count) return broken(`the collection holds ${count} of ${record.count} chunks`, count);
  if (uuid === record.uuid && isCondemned)
    return broken(`the collection holds ${count} chunks and finds none`, count);
  if (uuid === record.uuid) return { kind: 'ok', value: { kind: 'usable', uuid } };
  if (count > record.count) return broken(`another collection has its name, with ${count} records`, count);
  const isSame = await new BoundCollection(connection, uuid).isMadeBy(embedder, limits);
  if (isSame.kind === 'failure') return isSame;
  return isSame.value
    ? { kind: 'ok', value: { kind: 'usable', uuid } }
    : broken('another collection has its name, with other vectors', count);
}

function broken(what: string, count: number): ChromaResult<Finding> {
  return { kind: 'ok', value: { kind: 'broken', what, count } };
}
