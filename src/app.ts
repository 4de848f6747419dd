// Composition root: builds the services in order, and unwinds them in reverse, wherever the way ends.
//
// What listens comes up first and tells why it is not ready; Chroma, the collection and the model servers follow in
// the background. Nothing is claimed before the collection is READY.

import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { CollectionSide, type Surroundings, usesDefaultCorpus } from './app-collection.ts';
import { hintAtUsualPorts, howToGoOn, openPool } from './app-endpoints.ts';
import { intakeServices, openFileCheck } from './app-intake.ts';
import { refreshGauges } from './app-metrics.ts';
import { degradedPool, stageSettings, waitingAtPool } from './app-stages.ts';
import type { Settings } from './config.ts';
import type { BatchOptions } from './domain/options.ts';
import { RagmillError } from './errors.ts';
import { GenerationPool } from './generation/generation-pool.ts';
import { generateAlone } from './generation/lone-process.ts';
import { DEFAULT_SYSTEM_PROMPT } from './generation/prompt.ts';
import type { GpuPool } from './gpu-pool/gpu-pool.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { isLoopback } from './routes/access-guard.ts';
import { createHttpServer } from './routes/http-server.ts';
import type { Readiness, Services } from './routes/services.ts';
import type { FileCheck } from './scheduler/file-check.ts';
import { Planner } from './scheduler/planner.ts';
import { Scheduler } from './scheduler/scheduler.ts';
import { SqliteStore } from './store/sqlite-store.ts';
import { type Clock, unixSeconds } from './time.ts';

export interface App {
  /** Where it listens. */
  readonly url: string;
  /** Resolves with the error when the service cannot become ready, or cannot go on; never otherwise. */
  readonly failed: Promise<Error>;
  /** Stops taking work, gives running generations their grace, and unwinds. Safe to call again. */
  stop(): Promise<void>;
}

/**
 * Of the time that a stop may take, what is kept for closing: connections, the last records, child processes. The rest
 * is for running generations.
 */
const CLOSING_SHARE = 0.4;
const CLOSING_MAX_MS = 5_000;
/** Time for answers under way when everything else has stopped. */
const CONNECTION_CLOSE_MS = 1_000;

const VERSION: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;

/** Resolves once it listens. Throws a RagmillError when it cannot even do that, leaving nothing behind. */
export async function startApp(around: Surroundings): Promise<App> {
  await using opened = new AsyncDisposableStack();
  const { settings, log } = around;
  const parts = await openParts(around, opened);
  const draining = new AbortController();
  const closing = new AbortController();
  const services = servicesOf(around, parts, { draining: draining.signal, closing: closing.signal });
  const http = await createHttpServer({
    services,
    version: VERSION,
    log,
    isLoopback: isLoopback(settings.HOST),
  });
  opened.defer(async () => {
    await closeHttp(http, around.clock);
    // Their connections are gone by now; what they have stored goes while the store is still there.
    const settled = new AbortController();
    const patience = around.clock.sleep(CONNECTION_CLOSE_MS, settled.signal).catch(() => {});
    await Promise.race([services.uploadAdmission.idle(), patience]);
    settled.abort();
  });
  const url = await listen(http, settings);
  log.info({ url, version: VERSION, dataDir: settings.DATA_DIR }, 'listening');

  const resources = opened.move();
  const bringingUp = bringUp(around, parts, resources, draining.signal);
  let stopping: Promise<void> | null = null;
  const stop = async () => {
    const reason = new RagmillError('shutting_down', 'The service is stopping.');
    draining.abort(reason);
    await bringingUp;
    const allMs = settings.SHUTDOWN_GRACE_MS;
    const graceMs = allMs - Math.min(CLOSING_MAX_MS, allMs * CLOSING_SHARE);
    const inFlight = parts.pool.endpoints.reduce((sum, endpoint) => sum + endpoint.inFlight, 0);
    log.info(
      { inFlight, graceMs },
      'stopping: running answers have their grace, a second signal ends at once',
    );
    try {
      await parts.fileCheck.stop();
      await parts.scheduler.stop(graceMs);
    } finally {
      closing.abort(reason);
      await resources.disposeAsync();
    }
    log.info('stopped');
  };
  return {
    url,
    failed: Promise.race([
      bringingUp.then((error) => error ?? new Promise<never>(() => {})),
      parts.store.died,
    ]),
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

interface Parts {
  readonly metrics: Metrics;
  readonly store: SqliteStore;
  readonly pool: GpuPool;
  readonly collection: CollectionSide;
  readonly scheduler: Scheduler;
  readonly fileCheck: FileCheck;
}

async function openParts(around: Surroundings, opened: AsyncDisposableStack): Promise<Parts> {
  const { settings, log, clock } = around;
  const metrics = createMetrics(VERSION);
  const store = opened.adopt(await SqliteStore.open({ dataDir: settings.DATA_DIR, clock }), (it) =>
    it.close(),
  );
  const pool = await openPool(around, metrics, opened);
  const threads = settings.GENERATION_THREADS;
  const generation = opened.adopt(new GenerationPool({ threads, log }), (it) => it.close());
  const planner = opened.use(new Planner(log));
  const collection = new CollectionSide(around, metrics);
  const scheduler = new Scheduler({
    store,
    pool,
    retrieve: (query, signal) => collection.retrieve(query.query, query, signal),
    collectionGeneration: () => collection.generation,
    generate: (task, signal, onBegun) => generation.generate(task, signal, onBegun),
    generateAlone: (task, signal) => generateAlone(task, signal, log),
    plan: (input) => planner.plan(input),
    ...stageSettings(settings),
    defaultSystemPrompt: DEFAULT_SYSTEM_PROMPT,
    retentionHours: settings.RETENTION_HOURS,
    metrics,
    clock,
    log,
  });
  collection.onChange = () => scheduler.collectionChanged();
  const fileCheck = openFileCheck(settings, { store, scheduler, pool, metrics, clock, log });
  return { metrics, store, pool, collection, scheduler, fileCheck };
}

function servicesOf(
  around: Surroundings,
  parts: Parts,
  stops: { readonly draining: AbortSignal; readonly closing: AbortSignal },
): Services {
  const { settings, clock } = around;
  const { store, scheduler, fileCheck, metrics, collection, pool } = parts;
  return {
    store,
    scheduler,
    fileCheck,
    collection,
    pool,
    metrics,
    readiness: () => readinessOf(around, collection, pool, stops.draining),
    waitingFor: (options) => {
      // Before the first READY nothing is claimed, whatever it needs.
      const needsCollection = options.ragMode !== 'off' || !collection.isReady;
      return (needsCollection ? collection.waitingFor : null) ?? waitingAtPool(pool, settings, options);
    },
    beforeScrape: () => refreshGauges(parts, settings.DATA_DIR, clock),
    defaultOptions: defaultOptions(settings),
    defaultSystemPrompt: DEFAULT_SYSTEM_PROMPT,
    ...intakeServices(settings, store, scheduler),
    clock,
    startedAt: unixSeconds(clock),
    ...stops,
  };
}

/** Brings the collection to READY and opens the gates. Resolves with what made that impossible, or null. */
async function bringUp(
  around: Surroundings,
  parts: Parts,
  resources: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Error | null> {
  const { collection, pool, scheduler, fileCheck } = parts;
  try {
    scheduler.start();
    // Which models there are is known when all have been looked at; the collection need not be there.
    const scanned = pool.start().then(() => fileCheck.start());
    await collection.open(parts.store, signal, resources);
    await scanned;
    pool.open();
    scheduler.open();
    around.log.info({ collectionGeneration: collection.generation }, 'ready');
    const isServing = pool.isServing('generation');
    if (!isServing) pool.hint = await hintAtUsualPorts(around, signal);
    const missing = isServing ? null : pool.waitingFor('generation', around.settings.MODEL ?? null);
    if (missing !== null) around.log.warn(howToGoOn(missing));
    else if (pool.missing > 0)
      around.log.warn({ missing: pool.missing, gpus: pool.gpus }, 'model servers are missing');
    return null;
  } catch (error) {
    if (signal.aborted) return null;
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** A client that neither reads nor sends would hold its connection, and the stop, for ever. */
async function closeHttp(http: FastifyInstance, clock: Clock): Promise<void> {
  const closed = new AbortController();
  const patience = clock.sleep(CONNECTION_CLOSE_MS, closed.signal).then(
    () => http.server.closeAllConnections(),
    () => {
      // All closed by themselves.
    },
  );
  await http.close();
  closed.abort();
  await patience;
}

async function listen(http: FastifyInstance, settings: Settings): Promise<string> {
  try {
    return await http.listen({ host: settings.HOST, port: settings.PORT });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code !== 'EADDRINUSE' && code !== 'EACCES' && code !== 'EADDRNOTAVAIL') throw error;
    const reason = code === 'EADDRINUSE' ? 'is taken' : 'cannot be listened on';
    throw new RagmillError(
      'port_taken',
      `${settings.HOST}:${settings.PORT} ${reason}. Set PORT (0: any free one) or HOST.`,
      { cause: error },
    );
  }
}

function defaultOptions(settings: Settings): BatchOptions {
  return {
    ragMode: settings.RAG_MODE,
    topK: settings.RAG_TOP_K,
    maxDistance: settings.RAG_MAX_DISTANCE ?? null,
    where: null,
    contextOrder: 'preserve',
    priority: 'normal',
    onNoContext: 'answer',
    model: settings.MODEL ?? null,
    maxTokens: 1024,
    temperature: 0,
    systemPrompt: null,
    template: null,
    onInvalid: 'fail_line',
    pauseAfter: null,
    maxFailures: null,
    completionWindow: null,
  };
}

function readinessOf(
  around: Surroundings,
  collection: CollectionSide,
  pool: GpuPool,
  draining: AbortSignal,
): Readiness {
  const reasons = [
    ...(draining.aborted ? ['the service is stopping'] : []),
    ...(collection.isReady ? [] : [`waiting for ${collection.waitingFor}`]),
  ];
  const degraded = [
    ...(usesDefaultCorpus(around.settings) ? ['default_corpus'] : []),
    ...collection.troubles,
    ...degradedPool(pool, around.settings),
  ];
  return {
    isReady: reasons.length === 0,
    reasons,
    degraded,
    collectionGeneration: collection.isReady ? collection.generation : null,
  };
}
