// Looks at the collection every now and then, so that one that was emptied, or lost a part of its records, is noticed
// before a line meets it, and so that readiness tells of a Chroma that is gone while nobody asks.

import type { Clock } from '../time.ts';
import type { CallLimits } from './chroma-client.ts';
import type { CollectionHandle } from './collection-handle.ts';
import type { Outage } from './outage.ts';
import type { ReadyCollection } from './ready-collection.ts';

export interface CollectionWatchOptions {
  readonly handle: CollectionHandle;
  readonly outage: Pick<Outage, 'cause' | 'isToBlame'>;
  /** Records that the collection must have at least. */
  readonly leastRecords: (build: ReadyCollection) => number;
  /** Told after each look: what it has lost and could not be healed of; null: nothing. */
  readonly onLook: (damage: string | null) => void;
  readonly limits: CallLimits;
  readonly clock: Clock;
  /** Ends the watching. */
  readonly signal: AbortSignal;
}

const lookIntervalMs = 10_000;

/** Resolves when the signal ends it. */
export async function watchCollection(options: CollectionWatchOptions): Promise<void> {
  const { handle, outage, leastRecords, onLook, limits, clock, signal } = options;
  for (;;) {
    const isStopped = await clock.sleep(lookIntervalMs, signal).then(
      () => false,
      () => true,
    );
    if (isStopped) return;
    // An outage is probed more often than this.
    if (outage.cause !== null || handle.isHealing) continue;
    const build = handle.current;
    const count = await build.collection.count(limits);
    const isDamaged = count.kind === 'ok' ? count.value < leastRecords(build) : count.class === 'not_found';
    const healed = isDamaged ? await handle.heal(build) : count;
    onLook(isDamaged && healed.kind === 'failure' ? healed.message : null);
    if (healed.kind === 'failure') await outage.isToBlame();
  }
}
