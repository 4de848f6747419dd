// Everything that a service can be asked for at once, until it is stopped: a long batch that runs, clients that follow its
// results, and others whose uploads go on and on.

import { get } from 'node:http';
import { pacedQuestionPieces, questionPieces } from './question-lines.ts';
import { upload } from './upload.ts';

/** More lines than are run while it is measured. */
const BATCH_LINES = 400_000;

export interface LoadOptions {
  readonly streams: number;
  readonly uploads: number;
  /** Of each upload; a line is about 1 kB. */
  readonly uploadLinesPerSecond: number;
}

export class ServiceLoad {
  readonly #options: LoadOptions;
  readonly #stopped = new AbortController();
  #streamedBytes = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** Bytes that the streams have brought, all together. */
  get streamedBytes(): number {
    return this.#streamedBytes;
  }

  /** Resolves when the batch whose lines run is uploaded. */
  async start(url: string): Promise<void> {
    const { streams, uploads, uploadLinesPerSecond } = this.#options;
    const { signal } = this.#stopped;
    const id = await upload(url, { form: 'raw', pieces: questionPieces(BATCH_LINES) });
    for (let stream = 0; stream < streams; stream += 1) this.#follow(`${url}/batches/${id}/results`);
    for (let one = 0; one < uploads; one += 1) {
      const form = one % 2 === 0 ? 'raw' : 'multipart';
      const uploading = upload(url, { form, pieces: pacedQuestionPieces(uploadLinesPerSecond), signal });
      uploading.catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  stop(): void {
    this.#stopped.abort();
  }

  #follow(url: string): void {
    const request = get(url, { signal: this.#stopped.signal }, (response) => {
      response.on('data', (piece: Buffer) => {
        this.#streamedBytes += piece.length;
      });
      response.on('error', () => {});
    });
    request.on('error', () => {});
  }
}
