// Chroma calls of the bootstrap: what waiting can cure is tried again for a limited time, everything else ends the start
// at once with an error that a user can act on.

import type { BaseLogger } from 'pino';
import { RagmillError } from '../errors.ts';
import { type Clock, fullJitterMs } from '../time.ts';
import {
  type CallLimits,
  type ChromaConnection,
  type ChromaFailure,
  type ChromaResult,
  failure,
} from './chroma-client.ts';

export interface PatientChromaOptions {
  readonly connection: ChromaConnection;
  /** How long one operation may keep failing in a curable way. */
  readonly patienceMs: number;
  readonly clock: Clock;
  readonly log: BaseLogger;
  readonly signal: AbortSignal;
}

/** Deadline of one call. Writes of a large batch take seconds on a busy machine. */
const callTimeoutMs = 60_000;
const retryBaseMs = 100;
const retryCapMs = 2_000;

export class PatientChroma {
  readonly connection: ChromaConnection;
  readonly #options: PatientChromaOptions;

  constructor(options: PatientChromaOptions) {
    this.connection = options.connection;
    this.#options = options;
  }

  /** Ends the waiting, and what it is for. */
  get signal(): AbortSignal {
    return this.#options.signal;
  }

  /** What every call of the bootstrap is limited by. */
  get limits(): CallLimits {
    return { timeoutMs: callTimeoutMs, signal: this.#options.signal };
  }

  /** Resolves when Chroma answers. Throws `chroma_refused` when something else answers under its address. */
  async greet(): Promise<void> {
    const { url } = this.connection;
    await this.wait(async () => {
      const beat = await this.connection.call((client) => client.heartbeat(), this.limits);
      const isStranger = beat.kind === 'ok' ? typeof beat.value !== 'number' : beat.class === 'not_found';
      return isStranger ? failure('rejected', `what answers at ${url} is not a Chroma server`) : beat;
    });
  }

  /**
   * The value of `attempt`, which is repeated while Chroma cannot be reached and must therefore bear being repeated.
   * Throws `chroma_unavailable` when patience ends, `chroma_refused` at once for a refusal, `collection_vanished` where
   * what it works on was deleted, the signal's reason when aborted.
   */
  async wait<T>(attempt: () => Promise<ChromaResult<T>>): Promise<T> {
    const { clock, log, patienceMs, signal } = this.#options;
    const startMs = clock.monotonicMs();
    for (let failures = 0; ; failures++) {
      signal.throwIfAborted();
      const result = await attempt();
      if (result.kind === 'ok') return result.value;
      signal.throwIfAborted();
      if (result.class === 'not_found') throw new RagmillError('collection_vanished', `${result.message}.`);
      if (!isCurable(result)) throw new RagmillError('chroma_refused', `Chroma refused: ${result.message}.`);
      if (clock.monotonicMs() - startMs >= patienceMs) {
        throw new RagmillError(
          'chroma_unavailable',
          `${result.message}, for ${patienceMs} ms now. Start Chroma there, correct CHROMA_URL, or unset it for the embedded one.`,
        );
      }
      if (failures === 0) log.warn({ reason: result.message }, 'waiting for Chroma');
      await clock.sleep(fullJitterMs(failures, retryBaseMs, retryCapMs), signal);
    }
  }
}

function isCurable(failed: ChromaFailure): boolean {
  return failed.class === 'unreachable' || failed.class === 'timeout' || failed.class === 'server';
}
