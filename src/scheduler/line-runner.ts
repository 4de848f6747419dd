// Runs the lines of claimed chunks: retrieval, in digest mode the digest, then generation. Whatever happens, a line ends
// with one record, is put back for later because its batch pauses, or is dropped because its lease is gone.

import { setMaxListeners } from 'node:events';
import type { ClaimedChunk } from '../domain/chunk.ts';
import type { BatchOptions } from '../domain/options.ts';
import type { RetrievalOutcome } from '../domain/passage.ts';
import type { KeptPassage, NewRecord } from '../domain/record.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Metrics } from '../metrics.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import { answering } from './answering.ts';
import type { Generate } from './caller.ts';
import { type OpenLine, openLinesOf } from './claimed-lines.ts';
import type { DigestEnding } from './digest.ts';
import { type DigestSettings, digesting } from './digesting.ts';
import { Dispatcher, type WaitingLines } from './dispatcher.ts';
import type { PassageKeeper } from './passage-keeper.ts';
import type { SchedulerLog } from './record-writer.ts';
import { failedRecord, unrunRecord } from './result-record.ts';
import {
  isOutdated,
  letGo,
  type RetrievingOptions,
  retrieveFor,
  retrievingController,
} from './retrieving.ts';
import type { MakePlan } from './stage-lines.ts';
import type { CallLimits } from './stages.ts';
import { StartMarker } from './start-marker.ts';
import type { StoreTrouble } from './store-trouble.ts';
import { beginAgain, beginWork, type LeasedChunk, leaveDigest, passagesOf, type Work } from './work.ts';

export interface LineRunnerOptions extends RetrievingOptions {
  readonly store: Store;
  readonly pool: GpuPool;
  readonly generate: Generate;
  /** The same in a process of its own, for suspects. */
  readonly generateAlone: Generate;
  readonly apiKey: string | null;
  /** Tokens of prompt and answer together where a server does not say; null: not known. */
  readonly contextTokens: number | null;
  readonly generation: CallLimits;
  readonly digest: DigestSettings;
  readonly defaultSystemPrompt: string;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: SchedulerLog;
  readonly plan: MakePlan;
  readonly keeper: PassageKeeper;
  readonly trouble: StoreTrouble;
  /** Lines in hand that have no record yet. */
  readonly openLines: () => number;
  readonly onRecord: (
    chunk: LeasedChunk,
    record: NewRecord,
    passages: ReadonlyMap<string, KeptPassage>,
  ) => void;
  /** So many lines of the chunk are not run now. */
  readonly onParked: (chunk: LeasedChunk, lines: number) => void;
  /** A line needs no digest any more, and may be one of those that run ahead of generation. */
  readonly onDigested: () => void;
  readonly onStale: (chunk: LeasedChunk) => void;
}

const ENDING_MESSAGES = {
  cancelled: 'The batch was cancelled before this line was answered.',
  expired: 'The completion window of the batch was over before this line was answered.',
} as const;

const NO_PASSAGES: ReadonlyMap<string, KeptPassage> = new Map();

export class LineRunner {
  readonly #options: LineRunnerOptions;
  readonly #dispatcher: Dispatcher;
  readonly #marker: StartMarker;

  constructor(options: LineRunnerOptions) {
    this.#options = options;
    this.#marker = new StartMarker(options);
    this.#dispatcher = new Dispatcher({
      ...options,
      stages: {
        rag: digesting({ ...options, settings: options.digest, onDigest: (work) => this.#digested(work) }),
        generation: answering({
          ...options,
          limits: options.generation,
          onRecord: (work, record) => this.#end(work, record),
        }),
      },
      ragOutageMs: options.digest.outageMs,
      markStarted: (work) => this.#marker.mark(work),
      onSurprise: (work, error) => this.#surprise(work, error),
    });
  }

  /**
   * What of a chunk is to be begun, and the way to begin it. At most `limit` of its lines run (null: all); the rest
   * stays with the store.
   */
  take(
    claimed: ClaimedChunk,
    options: BatchOptions,
    limit: number | null,
  ): { chunk: LeasedChunk; begin: () => void } {
    const open = openLinesOf(claimed, options);
    const lines = limit === null || claimed.ending !== null ? open : upTo(limit, open);
    const running = lines.filter((line) => line.kind === 'good');
    const isLimited = lines.length < open.length || (limit !== null && running.length >= limit);
    const digested = running.filter(({ parsed }) => parsed.options.ragMode === 'digest');
    const chunk: LeasedChunk = {
      lease: claimed.lease,
      contextOrder: options.contextOrder,
      priority: options.priority,
      controller: new AbortController(),
      retrieving: retrievingController(),
      bytes: claimed.text.length,
      openLines: lines.length,
      digestLines: claimed.ending === null ? digested.length : 0,
      isPartial: lines.length < open.length,
      isLimited,
      isPausing: false,
      parked: [],
    };
    // Every line of the chunk listens to its signal.
    setMaxListeners(0, chunk.controller.signal);
    const begin = () => {
      for (const line of lines) this.#begin(chunk, line, claimed.ending);
    };
    return { chunk, begin };
  }

  /** Lines of these chunks that have not started by now are parked; the others finish. */
  pause(chunks: readonly LeasedChunk[]): void {
    for (const chunk of chunks) {
      chunk.isPausing = true;
      chunk.retrieving.abort();
    }
    const parked = this.#dispatcher.takeBack((work) => work.chunk.isPausing && !work.isStarted);
    for (const work of parked) this.#park(work);
  }

  /** The parked lines of a chunk in hand go on; `onCounted` is told how many, before any of them moves. */
  resume(chunk: LeasedChunk, onCounted: (lines: number) => void): void {
    chunk.isPausing = false;
    chunk.retrieving = retrievingController();
    const { parked } = chunk;
    chunk.parked = [];
    chunk.digestLines += parked.filter(({ stage }) => stage === 'rag').length;
    // What was found in a build that was replaced meanwhile is found again; who needs a digest after all is counted there.
    for (const work of parked.filter((line) => this.#isOutdated(line))) this.#beginAgain(work);
    onCounted(parked.length);
    for (const work of parked) this.#run(work).catch((error) => this.#surprise(work, error));
  }

  /** Another build of the collection is READY: lines that have not started are retrieved again. */
  retrieveAgain(): void {
    const outdated = this.#dispatcher.takeBack((work) => !work.isStarted && this.#isOutdated(work));
    for (const work of outdated) {
      this.#beginAgain(work);
      this.#run(work).catch((error) => this.#surprise(work, error));
    }
  }

  /** No line of the batch comes any more. */
  forget(batchId: string): void {
    this.#dispatcher.forget(batchId);
  }

  #beginAgain(work: Work): void {
    letGo(work, this.#options);
    beginAgain(work);
  }

  #isOutdated({ retrieval }: Work): boolean {
    return retrieval !== null && isOutdated(retrieval, this.#options.collectionGeneration());
  }

  /** Lines of aborted chunks leave. */
  dropAborted(): void {
    this.#dispatcher.takeBack((work) => work.chunk.controller.signal.aborted);
  }

  get waiting(): WaitingLines {
    return this.#dispatcher.waiting;
  }

  /** No generation starts afterwards; those in flight have `graceMs` to end. */
  async stop(graceMs: number): Promise<void> {
    this.#marker.stop();
    await this.#dispatcher.stop(graceMs);
  }

  #begin(chunk: LeasedChunk, line: OpenLine, ending: ClaimedChunk['ending']): void {
    const { customId, metadata } =
      line.kind === 'good' ? line.parsed : { customId: line.bad.customId, metadata: null };
    const head = { batchId: chunk.lease.batchId, line: line.line, customId, metadata };
    if (ending !== null) {
      const error = { code: ending, message: ENDING_MESSAGES[ending], stage: 'generation' } as const;
      this.#options.onRecord(chunk, unrunRecord(head, { status: ending, error }), NO_PASSAGES);
    } else if (line.kind === 'bad') {
      const error = { code: line.bad.code, message: line.bad.message, stage: 'input' } as const;
      this.#options.onRecord(chunk, unrunRecord(head, { status: 'failed', error }), NO_PASSAGES);
    } else {
      const work = beginWork(chunk, line.line, line.parsed, line.isSuspect);
      this.#run(work).catch((error) => this.#surprise(work, error));
    }
  }

  async #run(work: Work): Promise<void> {
    if (work.parsed.options.ragMode !== 'off') {
      const outcome = work.retrieval ?? (await retrieveFor(work, this.#options));
      if (work.chunk.controller.signal.aborted) return;
      if (work.chunk.isPausing || outcome === null) return this.#park(work);
      if (outcome.kind !== 'success') return this.#withoutContext(work, outcome);
    }
    this.#dispatcher.add(work);
  }

  /** The digest of a line was written, or will not be. */
  #digested(work: Work): void {
    const { digest } = work;
    if (digest !== null && digest.kind !== 'success') this.#withoutContext(work, digest);
    else this.#generate(work);
  }

  /** The RAG stage has failed: softly, so that the question goes alone, or hard. */
  #withoutContext(
    work: Work,
    { kind, code, message }: Exclude<RetrievalOutcome | DigestEnding, { readonly kind: 'success' }>,
  ): void {
    if (kind === 'hard_failure') {
      this.#end(work, failedRecord(work, { code, message, stage: 'rag' }, null));
    } else if (work.parsed.options.onNoContext === 'fail') {
      const why = `${message} The batch asks for context (on_no_context=fail).`;
      this.#end(work, failedRecord(work, { code: 'no_context', message: why, stage: 'rag' }, null));
    } else this.#generate(work);
  }

  #generate(work: Work): void {
    this.#leaveDigest(work);
    this.#dispatcher.add(work);
  }

  #leaveDigest(work: Work): void {
    if (work.stage !== 'rag') return;
    leaveDigest(work);
    this.#options.onDigested();
  }

  #park(work: Work): void {
    if (work.stage === 'rag') work.chunk.digestLines -= 1;
    work.chunk.parked.push(work);
    this.#options.onParked(work.chunk, 1);
  }

  /** What nobody expected ends the line, not the service. An abort is expected: the lease is gone. */
  #surprise(work: Work, cause: unknown): void {
    if (work.chunk.controller.signal.aborted) return;
    // It may wait for its call already: what surprised may have had to do with another line.
    this.#dispatcher.takeBack((waiting) => waiting === work);
    this.#options.log.error(
      { err: cause, batch: work.chunk.lease.batchId, line: work.line },
      'line failed unexpectedly',
    );
    const message = 'Something unexpected happened; the log has it under the batch and the line.';
    const stage = work.readyAtMs === 0 ? 'rag' : work.stage;
    this.#end(work, failedRecord(work, { code: 'internal_error', message, stage }, null));
  }

  #end(work: Work, record: NewRecord): void {
    if (work.chunk.controller.signal.aborted || work.isEnded) return;
    this.#leaveDigest(work);
    letGo(work, this.#options);
    const { batchId } = work.chunk.lease;
    const missing = this.#options.keeper.missing(batchId, work.passageHashes, passagesOf(work));
    work.isEnded = true;
    this.#options.onRecord(work.chunk, record, missing);
  }
}

/** The first lines, of which so many run; bad ones cost nothing. */
function upTo(limit: number, lines: readonly OpenLine[]): OpenLine[] {
  let left = limit;
  const taken: OpenLine[] = [];
  for (const line of lines) {
    if (line.kind === 'good') left -= 1;
    if (left < 0) break;
    taken.push(line);
  }
  return taken;
}
