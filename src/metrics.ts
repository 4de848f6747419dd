// Every metric of the service. Labels are bounded: names from the settings and codes from the catalogue, never
// ids, URLs or texts. All label sets that are known beforehand exist from the start, at zero.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const STAGES = ['queued', 'retrieval', 'rag', 'generation'] as const;
const REQUEST_CLASSES = [
  'success',
  'hard',
  'overload',
  'misconfigured',
  'request',
  'ambiguous',
  'cancelled',
] as const;

/** How often the event loop's delay is looked at, in milliseconds. */
const LOOP_RESOLUTION_MS = 10;
const LOOP_QUANTILES = [0.5, 0.99, 1];

/** From one millisecond to the half hour that a generation may take. */
const DURATION_BUCKETS_SECONDS = [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800];

export type Metrics = ReturnType<typeof defineMetrics>;

export function createMetrics(version: string): Metrics {
  const metrics = defineMetrics();
  registerEventLoopDelay(metrics.registry);
  metrics.buildInfo.set({ version }, 1);
  beginAtZero(metrics);
  return metrics;
}

function defineMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name: `ragmill_${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name: `ragmill_${name}`, help, labelNames, registers });

  return {
    registry,
    batches: counter('batches_total', 'Batches by the status they reached', ['status']),
    lines: counter('lines_total', 'Lines that ended, by outcome and error code (none: no error)', [
      'outcome',
      'code',
    ]),
    ragOutcomes: counter('rag_outcomes_total', 'RAG stages by outcome', ['outcome']),
    queueLines: gauge('queue_lines', 'Lines claimed by this process that have no record yet'),
    oldestQueuedAge: gauge(
      'oldest_queued_age_seconds',
      'Age of the oldest batch that has lines to run; 0: none',
    ),
    diskFree: gauge('disk_free_bytes', 'Free disk of the data folder'),
    waitingLines: gauge(
      'waiting_lines',
      'Lines that wait: for passages (retrieval), for room at an endpoint, for a model server to be there at all, for their next try',
      ['reason'],
    ),
    stageDuration: new Histogram({
      name: 'ragmill_stage_duration_seconds',
      help: 'Time that lines spend in a stage',
      labelNames: ['stage'] as const,
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    }),
    endpointUp: gauge('endpoint_up', '1 while the endpoint takes requests', ['endpoint']),
    endpointBreakerState: gauge('endpoint_breaker_state', '0 closed, 1 half-open, 2 open', ['endpoint']),
    endpointWindow: gauge('endpoint_window', 'Requests the endpoint may have in flight', ['endpoint']),
    endpointInFlight: gauge('endpoint_inflight', 'Requests the endpoint has in flight', ['endpoint']),
    endpointRequests: counter('endpoint_requests_total', 'Requests by how they ended', ['endpoint', 'class']),
    tokens: counter('tokens_total', 'Tokens by direction, as far as servers report them', ['direction']),
    cachedTokens: counter('cached_tokens_total', 'Prompt tokens that servers took from their prefix caches'),
    contextTruncated: counter(
      'context_truncated_total',
      'Answers made from a prompt that the server had cut to its context',
      ['endpoint'],
    ),
    contextCuts: counter('context_cuts_total', 'Answers whose context was cut, by what told to', ['reason']),
    hedges: counter('hedges_total', 'Second calls of lines that took long at the end: sent, won, lost', [
      'outcome',
    ]),
    retries: counter('retries_total', 'Calls to model servers sent again, by reason', ['reason']),
    ...collectionMetrics(registry),
    ready: gauge('ready', '1 while the service is ready'),
    leaseLost: counter('lease_lost_total', 'Chunks whose lease ran out or was taken'),
    staleWrites: counter('stale_writes_total', 'Groups of records refused because their lease was lost'),
    resultStreams: gauge('result_streams', 'Results being streamed to clients'),
    uploadsRejected: counter('uploads_rejected_total', 'Uploads refused, by error code', ['code']),
    buildInfo: gauge('build_info', 'Always 1; the version is a label', ['version']),
  };
}

/** Those of retrieval and of the collection that it asks. */
function collectionMetrics(registry: Registry) {
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `ragmill_${name}`, help, registers: [registry] });
  return {
    collectionRebinds: new Counter({
      name: 'ragmill_collection_rebinds_total',
      help: 'Times a stale collection handle healed itself',
      registers: [registry],
    }),
    collectionGeneration: gauge('collection_generation', 'Build of the collection in use; 0 before READY'),
    bootstrapDuration: gauge('bootstrap_duration_seconds', 'Time from start to READY'),
    retrievalOutage: gauge('retrieval_outage_seconds', 'For how long retrieval has not worked; 0: it works'),
    bootstrapChunks: new Gauge({
      name: 'ragmill_bootstrap_chunks',
      help: 'Chunks of the build that is being filled, those written and all of them; 0: none is',
      labelNames: ['state'] as const,
      registers: [registry],
    }),
  };
}

/** All label sets that are known beforehand. */
function beginAtZero(metrics: Metrics): void {
  for (const status of ['created', 'completed', 'failed', 'cancelled', 'expired'])
    metrics.batches.inc({ status }, 0);
  metrics.lines.inc({ outcome: 'succeeded', code: 'none' }, 0);
  for (const outcome of ['success', 'soft_failure', 'hard_failure']) metrics.ragOutcomes.inc({ outcome }, 0);
  for (const reason of ['room', 'model_server', 'retry', 'retrieval'])
    metrics.waitingLines.set({ reason }, 0);
  for (const stage of STAGES) metrics.stageDuration.zero({ stage });
  for (const direction of ['prompt', 'completion']) metrics.tokens.inc({ direction }, 0);
  for (const reason of ['budget', 'refused']) metrics.contextCuts.inc({ reason }, 0);
  for (const outcome of ['sent', 'won', 'lost']) metrics.hedges.inc({ outcome }, 0);
  for (const reason of REQUEST_CLASSES) metrics.retries.inc({ reason }, 0);
}

/** Since the last scrape. The monitor's own period is no delay. */
function registerEventLoopDelay(registry: Registry): void {
  const delays = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  delays.enable();
  new Gauge({
    name: 'ragmill_event_loop_delay_seconds',
    help: 'How late the event loop came to its timers since the last scrape; quantile 1 is the longest delay',
    labelNames: ['quantile'] as const,
    registers: [registry],
    collect() {
      for (const quantile of LOOP_QUANTILES) {
        const periodMs = delays.count === 0 ? 0 : delays.percentile(100 * quantile) / 1e6;
        this.set({ quantile }, Math.max(0, periodMs - LOOP_RESOLUTION_MS) / 1000);
      }
      delays.reset();
    },
  });
}

/** The series of an endpoint exist from the moment it is known. */
export function createEndpointSeries(metrics: Metrics, endpoint: string): void {
  for (const requestClass of REQUEST_CLASSES)
    metrics.endpointRequests.inc({ endpoint, class: requestClass }, 0);
  metrics.contextTruncated.inc({ endpoint }, 0);
}
