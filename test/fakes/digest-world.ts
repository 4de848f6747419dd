// Lines on their way through both stages, over a pool of servers that are not there: each call is answered by what the test
// says.

import { ALL_ROLES, type CallStage } from '../../src/domain/call-stage.ts';
import type { ClaimedChunk } from '../../src/domain/chunk.ts';
import type { GenerationOutcome, GenerationSuccess, GenerationTask } from '../../src/domain/generation.ts';
import type { BatchOptions } from '../../src/domain/options.ts';
import type { RetrievalOutcome } from '../../src/domain/passage.ts';
import type { NewRecord } from '../../src/domain/record.ts';
import { DIGEST_SYSTEM_PROMPT } from '../../src/generation/digest-prompt.ts';
import { GpuPool } from '../../src/gpu-pool/gpu-pool.ts';
import { createMetrics } from '../../src/metrics.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import type { CancelSignal } from '../../src/model-server/model-server-client.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { Hand } from '../../src/scheduler/hand.ts';
import { LineRunner } from '../../src/scheduler/line-runner.ts';
import { PassageKeeper } from '../../src/scheduler/passage-keeper.ts';
import { RetrievalTurns } from '../../src/scheduler/retrieval-turns.ts';
import { SharedTexts } from '../../src/scheduler/shared-texts.ts';
import { StoreTrouble } from '../../src/scheduler/store-trouble.ts';
import type { LeasedChunk } from '../../src/scheduler/work.ts';
import type { Store } from '../../src/store/store.ts';
import { options } from './batch-fixtures.ts';
import { ManualClock } from './manual-clock.ts';
import { candidate, NO_GPUS, report } from './pool-fixtures.ts';
import { recordingLog } from './recording-log.ts';
import { until } from './until.ts';
import { success } from './work-fixtures.ts';

export interface DigestCall {
  readonly stage: CallStage;
  readonly endpoint: string;
  /** Its question. */
  readonly query: string;
  readonly task: GenerationTask;
  readonly signal: CancelSignal;
  /** In a process of its own. */
  readonly isAlone: boolean;
}

export type Respond = (call: DigestCall, index: number) => GenerationOutcome | Promise<GenerationOutcome>;

export const DIGEST_TEXT = 'The lens is polished every morning [lens#0].';
export const digestSuccess: GenerationSuccess = { ...success, answer: DIGEST_TEXT, model: 'reader' };
export const found: RetrievalOutcome = {
  kind: 'success',
  attempts: 1,
  collectionGeneration: 3,
  passages: [{ documentId: 'lens', chunk: 0, title: null, source: null, text: 'The lens.', distance: 0.2 }],
};

export const ATTEMPTS_MAX = 3;
export const OUTAGE_MS = 60_000;
const LIMITS = { maxAttempts: ATTEMPTS_MAX, totalTimeoutMs: 1, firstTokenTimeoutMs: 2, stallTimeoutMs: 3 };

/** By endpoint: its roles. */
type Roles = Readonly<Record<string, readonly CallStage[]>>;

export const SHARED: Roles = { a: ['rag', 'generation'], b: ['rag', 'generation'] };
export const APART: Roles = { reads: ['rag'], answers: ['generation'] };

export class DigestWorld {
  readonly clock = new ManualClock();
  readonly metrics = createMetrics('test');
  readonly recording = recordingLog();
  readonly calls: DigestCall[] = [];
  readonly records: { record: NewRecord; body: ReturnType<typeof JSON.parse>; chunk: LeasedChunk }[] = [];
  readonly marked: number[] = [];
  readonly pool: GpuPool;
  readonly runner: LineRunner;
  respond: Respond = ({ stage }) => (stage === 'rag' ? digestSuccess : success);
  retrieve: () => RetrievalOutcome = () => found;
  /** Number of the collection's build that is READY. */
  generation = 3;
  /** Endpoints that nobody reaches. */
  readonly away = new Set<string>();
  /** By endpoint, where they are not ['m']. */
  readonly models: Record<string, readonly string[]> = {};
  digestedTimes = 0;
  parkedLines = 0;
  #lines = 0;

  constructor(roles: Roles = SHARED, { window = 2, ragModel = 'batch' as string | null } = {}) {
    this.pool = new GpuPool({
      candidates: Object.entries(roles).map(([name, its]) =>
        candidate(name, { roles: its.length === 2 ? ALL_ROLES : new Set(its) }),
      ),
      gpus: NO_GPUS,
      window,
      inspect: async ({ name }) => (this.away.has(name) ? refused() : report(this.models[name] ?? ['m'])),
      tryOut: async () => success,
      clock: this.clock,
      log: this.recording.log,
    });
    this.runner = new LineRunner({
      // Nothing else of the store is asked for here.
      store: { markStarted: async (_, lines) => this.marked.push(...lines) > 0 } as Pick<
        Store,
        'markStarted'
      > as Store,
      pool: this.pool,
      collectionGeneration: () => this.generation,
      contextTokens: null,
      retrieve: async () => this.retrieve(),
      generate: (task, signal) => this.#call(task, signal, false),
      generateAlone: (task, signal) => this.#call(task, signal, true),
      apiKey: null,
      generation: LIMITS,
      digest: {
        limits: LIMITS,
        model: ragModel === 'batch' ? 'batch' : { name: ragModel },
        maxTokens: 99,
        outageMs: OUTAGE_MS,
      },
      defaultSystemPrompt: 'Be kind.',
      metrics: this.metrics,
      clock: this.clock,
      log: this.recording.log,
      plan: planLines,
      sharedTexts: new SharedTexts(),
      turns: new RetrievalTurns(),
      hand: new Hand(1, () => {}),
      keeper: new PassageKeeper(),
      trouble: new StoreTrouble(this.recording.log),
      openLines: () => this.#lines - this.records.length,
      onRecord: (chunk, record) => this.records.push({ record, body: JSON.parse(record.body), chunk }),
      onParked: () => {
        this.parkedLines += 1;
      },
      onDigested: () => {
        this.digestedTimes += 1;
      },
      onStale: () => {},
    });
  }

  async open(): Promise<this> {
    await this.pool.start();
    this.pool.open();
    return this;
  }

  /** Begins so many lines of a batch of digest mode: `question 1 …`. */
  begin(
    lines: number,
    changes: Partial<BatchOptions> = {},
    batchId = 'b1',
    suspectLines: readonly number[] = [],
  ): LeasedChunk {
    const texts = Array.from({ length: lines }, (_, index) =>
      JSON.stringify({ custom_id: `q${index + 1}`, query: `${batchId} question ${index + 1}` }),
    );
    const claimed: ClaimedChunk = {
      lease: { batchId, chunk: 0, token: this.#lines + 1 },
      ending: null,
      firstLine: 1,
      text: Buffer.from(texts.join('\n')),
      problems: [],
      finishedLines: [],
      suspectLines,
      runnableLines: null,
    };
    this.#lines += lines;
    const { chunk, begin } = this.runner.take(claimed, { ...options, ragMode: 'digest', ...changes }, null);
    begin();
    return chunk;
  }

  /** Lets time pass until so many lines have ended. */
  async ended(count: number): Promise<void> {
    await until(`${count} records`, async () => {
      await this.clock.advance(1_000);
      return this.records.length >= count;
    });
  }

  callsOf(stage: CallStage): DigestCall[] {
    return this.calls.filter((call) => call.stage === stage);
  }

  async stop(): Promise<void> {
    const stopping = this.runner.stop(1);
    // Calls that never end have their grace.
    await this.clock.advance(1);
    await stopping;
    await this.pool.stop();
  }

  async #call(task: GenerationTask, signal: CancelSignal, isAlone: boolean): Promise<GenerationOutcome> {
    const stage = task.systemPrompt === DIGEST_SYSTEM_PROMPT ? 'rag' : 'generation';
    const endpoint = new URL(task.endpointUrl).hostname;
    const call = { stage, endpoint, query: task.request.query, task, signal, isAlone } as const;
    this.calls.push(call);
    if (this.away.has(endpoint)) return refused();
    return this.respond(call, this.calls.length - 1);
  }
}

export function refused() {
  return modelFailure('hard', 'connection refused', { isRefused: true });
}

export const turns = async () => {
  for (let count = 0; count < 8; count += 1) await new Promise(setImmediate);
};
