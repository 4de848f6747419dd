// Bytes in, lines out: never holds more than one line, and no line longer than the limit, however small the pieces
// are in which it comes.

export interface RawLine {
  /** 1-based number in the upload, blank lines counted. */
  readonly number: number;
  /** The line without its newline; null where it is over the limit. */
  readonly bytes: Buffer | null;
}

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const INITIAL_ROOM_BYTES = 4096;

export class LineSplitter {
  readonly #maxLineBytes: number;
  /** The beginning of a line that earlier pieces brought: one growing buffer, because a list of tiny pieces would
   * cost many times their bytes. */
  #room: Buffer = Buffer.alloc(INITIAL_ROOM_BYTES);
  #length = 0;
  #number = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** The lines that end within this piece. */
  *push(piece: Buffer): Generator<RawLine> {
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE, start)) {
      yield this.#take(piece.subarray(start, end));
      start = end + 1;
    }
    if (start < piece.length) this.#keep(piece.subarray(start));
  }

  /** The last line, where no newline ends it. */
  *end(): Generator<RawLine> {
    if (this.#length > 0) yield this.#take(Buffer.alloc(0));
  }

  #keep(part: Buffer): void {
    const length = this.#length + part.length;
    // Of a line over the limit only its length is of interest.
    if (length <= this.#maxLineBytes) {
      if (length > this.#room.length) {
        const wider = Buffer.alloc(Math.min(this.#maxLineBytes, Math.max(length, this.#room.length * 2)));
        this.#room.copy(wider, 0, 0, this.#length);
        this.#room = wider;
      }
      part.copy(this.#room, this.#length);
    }
    this.#length = length;
  }

  #take(rest: Buffer): RawLine {
    this.#number += 1;
    const length = this.#length + rest.length;
    const bytes = length > this.#maxLineBytes ? null : this.#joined(rest);
    this.#length = 0;
    if (this.#room.length > INITIAL_ROOM_BYTES) this.#room = Buffer.alloc(INITIAL_ROOM_BYTES);
    return { number: this.#number, bytes: bytes && withoutCarriageReturn(bytes) };
  }

  #joined(rest: Buffer): Buffer {
    return this.#length === 0 ? rest : Buffer.concat([this.#room.subarray(0, this.#length), rest]);
  }
}

function withoutCarriageReturn(bytes: Buffer): Buffer {
  return bytes.at(-1) === CARRIAGE_RETURN ? bytes.subarray(0, -1) : bytes;
}
