// Gathers lines into chunks. Blank lines are no lines of the batch, but they stay in the chunk's text, so that line
// numbers are the upload's own; only a long gap of them ends a chunk.

import { CHUNK_BYTES, CHUNK_LINES, type NewChunk, type StoredProblem } from '../domain/chunk.ts';

const NEWLINE = Buffer.from('\n');
const BLANK = Buffer.alloc(0);

export class ChunkBuilder {
  #number = 0;
  #firstLine = 0;
  #bytes = 0;
  /** From the first line on, blank ones included. */
  #lines: Buffer[] = [];
  #blankLines: number[] = [];
  #problems: StoredProblem[] = [];

  /** Adds a line; answers the chunk that it closed, if any. Line numbers only grow. */
  add(line: number, bytes: Buffer, problem: StoredProblem | null): NewChunk | null {
    const gap = line - this.#firstLine - this.#lines.length;
    const count = this.#lines.length - this.#blankLines.length;
    const isFull =
      count === CHUNK_LINES || this.#bytes + gap + bytes.length > CHUNK_BYTES || gap > CHUNK_LINES;
    const closed = isFull ? this.flush() : null;
    if (this.#lines.length === 0) this.#firstLine = line;
    for (let blank = this.#firstLine + this.#lines.length; blank < line; blank += 1) this.#push(blank, BLANK);
    this.#push(line, bytes);
    if (problem) this.#problems.push(problem);
    return closed;
  }

  /** The lines gathered so far, or null when there are none. */
  flush(): NewChunk | null {
    if (this.#lines.length === 0) return null;
    const chunk: NewChunk = {
      number: this.#number,
      firstLine: this.#firstLine,
      lineCount: this.#lines.length - this.#blankLines.length,
      blankLines: this.#blankLines,
      text: Buffer.concat(this.#lines.flatMap((line, index) => (index === 0 ? [line] : [NEWLINE, line]))),
      problems: this.#problems,
    };
    this.#number += 1;
    this.#bytes = 0;
    this.#lines = [];
    this.#blankLines = [];
    this.#problems = [];
    return chunk;
  }

  #push(line: number, bytes: Buffer): void {
    if (bytes === BLANK) this.#blankLines.push(line);
    this.#lines.push(bytes);
    this.#bytes += bytes.length + 1;
  }
}
