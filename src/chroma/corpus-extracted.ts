// The texts of HTML and PDF files, as a corpus needs them: read twice, with the same ending both times. What could not be
// read costs its time and memory once only.

import { stat } from 'node:fs/promises';
import type { ExtractedKind, Extraction, ExtractionFailure } from './extraction.ts';
import { Extractor } from './extractor.ts';

/** Failures remembered; a corpus with more of them is read more slowly. */
const failuresKept = 10_000;

export class ExtractedFiles implements AsyncDisposable {
  readonly #extractor: Extractor;
  /** By path, size and time of change. */
  readonly #failures = new Map<string, ExtractionFailure>();

  constructor(extractor = new Extractor()) {
    this.#extractor = extractor;
  }

  /** Rejects when the file is not there. */
  async extract(path: string, kind: ExtractedKind): Promise<Extraction> {
    const { size, mtimeMs } = await stat(path);
    const key = `${path}\n${size}\n${mtimeMs}`;
    const known = this.#failures.get(key);
    if (known !== undefined) return known;
    const extraction = await this.#extractor.extract({ path, kind });
    if (extraction.kind === 'failure') {
      if (this.#failures.size >= failuresKept) this.#failures.clear();
      this.#failures.set(key, extraction);
    }
    return extraction;
  }

  /** Ends the process that reads files, which the next reading starts anew. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#extractor[Symbol.asyncDispose]();
  }
}
