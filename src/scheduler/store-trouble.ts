// Writes that fail are tried again until they work. One line says that it has begun and one that it is over, however
// many writes wait meanwhile.

import { RagmillError } from '../errors.ts';
import type { SchedulerLog } from './record-writer.ts';

export class StoreTrouble {
  readonly #log: SchedulerLog;
  /** Code of the trouble there is; null: none. */
  #code: string | null = null;

  constructor(log: SchedulerLog) {
    this.#log = log;
  }

  failed(error: unknown): void {
    const code = error instanceof RagmillError ? error.code : 'internal_error';
    if (code === this.#code) return;
    this.#code = code;
    this.#log.error({ err: error, code }, 'nothing can be stored: running work waits, and goes on by itself');
  }

  worked(): void {
    if (this.#code === null) return;
    this.#code = null;
    this.#log.info({}, 'the store works again');
  }
}
