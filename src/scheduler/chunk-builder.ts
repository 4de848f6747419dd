// Gathers consecutive lines into chunks.

import { CHUNK_BYTES, CHUNK_LINES, type NewChunk, type StoredProblem } from '../domain/chunk.ts';

const NEWLINE = Buffer.from('\n');

export class ChunkBuilder {
  #number = 0;
  #firstLine = 0;
  #bytes = 0;
  #lines: Buffer[] = [];
  #problems: StoredProblem[] = [];

  /** Adds a line; answers the chunk that it closed, if any. Line numbers only grow. */
  add(line: number, bytes: Buffer, problem: StoredProblem | null): NewChunk | null {
    const isConsecutive = line === this.#firstLine + this.#lines.length;
    const isFull = this.#lines.length === CHUNK_LINES || this.#bytes + bytes.length > CHUNK_BYTES;
    const closed = isConsecutive && !isFull ? null : this.flush();
    if (this.#lines.length === 0) this.#firstLine = line;
    this.#lines.push(bytes);
    this.#bytes += bytes.length + 1;
    if (problem) this.#problems.push(problem);
    return closed;
  }

  /** The lines gathered so far, or null when there are none. */
  flush(): NewChunk | null {
    if (this.#lines.length === 0) return null;
    const chunk: NewChunk = {
      number: this.#number,
      firstLine: this.#firstLine,
      lineCount: this.#lines.length,
      text: Buffer.concat(this.#lines.flatMap((line, index) => (index === 0 ? [line] : [NEWLINE, line]))),
      problems: this.#problems,
    };
    this.#number += 1;
    this.#bytes = 0;
    this.#lines = [];
    this.#problems = [];
    return chunk;
  }
}
