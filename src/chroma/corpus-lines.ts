// A file as lines, read in pieces: memory is bounded by the longest line allowed, not by the file.

import { createReadStream } from 'node:fs';

/** A line as it stands, or null where it is longer than allowed. */
export interface FileLine {
  /** 1-based. */
  readonly number: number;
  readonly bytes: Buffer | null;
}

const lineFeed = 0x0a;

/** The lines without their ends. Throws what reading the file throws. */
export async function* linesOfFile(path: string, maxLineBytes: number): AsyncGenerator<FileLine> {
  let parts: Buffer[] = [];
  let length = 0;
  let number = 1;
  const hold = (part: Buffer) => {
    length += part.length;
    if (length <= maxLineBytes) parts.push(part);
    else parts = [];
  };
  const take = (): FileLine => {
    const line = { number, bytes: length <= maxLineBytes ? Buffer.concat(parts) : null };
    parts = [];
    length = 0;
    number += 1;
    return line;
  };
  for await (const read of createReadStream(path)) {
    const piece: Buffer = read;
    let start = 0;
    for (let end = piece.indexOf(lineFeed); end >= 0; end = piece.indexOf(lineFeed, start)) {
      hold(piece.subarray(start, end));
      yield take();
      start = end + 1;
    }
    hold(piece.subarray(start));
  }
  if (length > 0) yield take();
}
