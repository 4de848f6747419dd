// Everything that a service can be asked for at once, until it is stopped: a long batch that runs, clients that follow its
// results, and others that upload one batch after the other.

import { get } from 'node:http';
import { questionPieces } from './question-lines.ts';
import { upload } from './upload.ts';

/** More lines than are run while it is measured. */
const BATCH_LINES = 400_000;
const UPLOAD_LINES = 20_000;

export interface LoadOptions {
  readonly streams: number;
  readonly uploads: number;
}

export interface LoadCounts {
  readonly lines: number;
  readonly uploaded: number;
  readonly streamedBytes: number;
}

export class ServiceLoad {
  readonly #options: LoadOptions;
  readonly #stopped = new AbortController();
  #uploaded = 0;
  #streamedBytes = 0;
  #firstStreamLines = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  get counts(): LoadCounts {
    return {
      lines: this.#firstStreamLines,
      uploaded: this.#uploaded,
      streamedBytes: this.#streamedBytes,
    };
  }

  /** Resolves when the batch whose lines run is uploaded. */
  async start(url: string): Promise<void> {
    const id = await upload(url, '', 'raw', questionPieces(BATCH_LINES));
    for (let stream = 0; stream < this.#options.streams; stream += 1) {
      this.#read(`${url}/batches/${id}/results`, stream === 0);
    }
    // Of low weight: these batches wait behind the first one, so what they cost is the upload.
    for (let one = 0; one < this.#options.uploads; one += 1) void this.#keepUploading(url);
  }

  stop(): void {
    this.#stopped.abort();
  }

  #read(url: string, isFirst: boolean): void {
    const request = get(url, (response) => {
      response.on('data', (piece: Buffer) => {
        this.#streamedBytes += piece.length;
        if (isFirst) this.#firstStreamLines += piece.toString('latin1').split('\n').length - 1;
      });
      response.on('error', () => {});
    });
    request.on('error', () => {});
    this.#stopped.signal.addEventListener('abort', () => request.destroy(), { once: true });
  }

  async #keepUploading(url: string): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      try {
        const form = this.#uploaded % 2 === 0 ? 'raw' : 'multipart';
        await upload(url, '', form, questionPieces(UPLOAD_LINES));
        this.#uploaded += UPLOAD_LINES;
      } catch (error) {
        if (!this.#stopped.signal.aborted) throw error;
      }
    }
  }
}
