// What the gauges show, gathered from all over the program when somebody asks for it.

import type { CollectionSide } from './app-collection.ts';
import { freeDiskBytes } from './app-intake.ts';
import { CALL_STAGES } from './domain/call-stage.ts';
import type { GpuPool } from './gpu-pool/gpu-pool.ts';
import type { Metrics } from './metrics.ts';
import type { Scheduler } from './scheduler/scheduler.ts';
import type { Store } from './store/store.ts';
import { type Clock, unixSeconds } from './time.ts';

interface Measured {
  readonly metrics: Metrics;
  readonly store: Store;
  readonly pool: GpuPool;
  readonly collection: CollectionSide;
  readonly scheduler: Scheduler;
}

/** As the help of the metric says. */
const BREAKER_VALUES = { closed: 0, half_open: 1, open: 2 } as const;

export async function refreshGauges(measured: Measured, dataDir: string, clock: Clock): Promise<void> {
  const { metrics, store, collection } = measured;
  metrics.ready.set(collection.isReady ? 1 : 0);
  metrics.collectionGeneration.set(collection.generation);
  refreshCollection(measured);
  refreshEndpoints(measured);
  metrics.diskFree.set(await freeDiskBytes(dataDir));
  const [oldest] = (await store.activeBatches()).filter(({ ending }) => ending === null);
  metrics.oldestQueuedAge.set(oldest ? Math.max(0, unixSeconds(clock) - oldest.createdAt) : 0);
}

function refreshCollection({ metrics, collection }: Measured): void {
  const { live, bootstrapState } = collection;
  const filling = bootstrapState?.phase === 'filling' ? bootstrapState : { done: 0, total: 0 };
  metrics.bootstrapChunks.set({ state: 'done' }, filling.done);
  metrics.bootstrapChunks.set({ state: 'total' }, filling.total);
  metrics.retrievalOutage.set((live?.outage?.durationMs ?? 0) / 1000);
  metrics.waitingLines.set({ reason: 'retrieval' }, live?.pending ?? 0);
}

function refreshEndpoints({ metrics, pool, scheduler }: Measured): void {
  const { waiting } = scheduler;
  const lines = { room: 0, model_server: 0, retry: waiting.retry };
  for (const stage of CALL_STAGES) lines[pool.isServing(stage) ? 'room' : 'model_server'] += waiting[stage];
  for (const [reason, count] of Object.entries(lines)) metrics.waitingLines.set({ reason }, count);
  for (const endpoint of pool.endpoints) {
    const labels = { endpoint: endpoint.name };
    metrics.endpointBreakerState.set(labels, BREAKER_VALUES[endpoint.breakerState]);
    metrics.endpointUp.set(labels, endpoint.phase === 'up' ? 1 : 0);
    metrics.endpointWindow.set(labels, endpoint.window);
    metrics.endpointInFlight.set(labels, endpoint.inFlight);
  }
}
