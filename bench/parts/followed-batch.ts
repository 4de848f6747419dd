// A batch of short questions whose results are read while they are made, each with the time at which it came.

import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { upload } from './upload.ts';

export interface SeenResult {
  /** Unix time at which it was read. */
  readonly atMs: number;
  readonly customId: string;
  readonly isSucceeded: boolean;
  /** null: none answered. */
  readonly endpoint: string | null;
  readonly attempts: number;
  /** What its stages took; null: it never came to them. */
  readonly timingsMs: StageTimes | null;
}

interface StageTimes {
  readonly retrieval: number;
  readonly generation: number;
}

interface ResultLine {
  readonly custom_id: string;
  readonly status: string;
  readonly generation: { readonly endpoint: string | null; readonly attempts: number } | null;
  readonly timings_ms: StageTimes | null;
}

const LINES_A_PIECE = 256;

export class FollowedBatch {
  readonly results: SeenResult[] = [];
  readonly url: string;
  /** When all are there. */
  readonly ended: Promise<void>;
  readonly #awaited: { readonly count: number; readonly reached: () => void }[] = [];

  private constructor(url: string) {
    this.url = url;
    this.ended = this.#follow();
  }

  /** `questionOf` makes the question of each line; its custom_id is its number, from 1 on. `query`: options, as in a URL. */
  static async start(
    serviceUrl: string,
    lines: number,
    questionOf: (line: number) => string,
    query = '',
  ): Promise<FollowedBatch> {
    const id = await upload(serviceUrl, { form: 'raw', pieces: pieces(lines, questionOf), query });
    return new FollowedBatch(`${serviceUrl}/batches/${id}`);
  }

  /** Resolves when so many results have come. */
  reached(count: number): Promise<void> {
    if (this.results.length >= count) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#awaited.push({ count, reached: resolve });
    return promise;
  }

  async #follow(): Promise<void> {
    const stream = await fetch(`${this.url}/results`);
    if (!stream.body) throw new Error(`no results: ${stream.status}`);
    for await (const line of createInterface({ input: Readable.fromWeb(stream.body) })) {
      const { custom_id, status, generation, timings_ms } = JSON.parse(line) as ResultLine;
      this.results.push({
        atMs: Date.now(),
        customId: custom_id,
        isSucceeded: status === 'succeeded',
        endpoint: generation?.endpoint ?? null,
        attempts: generation?.attempts ?? 0,
        timingsMs: timings_ms && { retrieval: timings_ms.retrieval, generation: timings_ms.generation },
      });
      for (const { count, reached } of this.#awaited) if (count === this.results.length) reached();
    }
  }
}

function* pieces(lines: number, questionOf: (line: number) => string): Generator<Buffer> {
  for (let first = 1; first <= lines; first += LINES_A_PIECE) {
    const count = Math.min(LINES_A_PIECE, lines - first + 1);
    const piece = Array.from({ length: count }, (_, index) => {
      const line = first + index;
      return `${JSON.stringify({ custom_id: String(line), query: questionOf(line) })}\n`;
    });
    yield Buffer.from(piece.join(''));
  }
}
