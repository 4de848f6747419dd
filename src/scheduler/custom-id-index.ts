// Which line brought a custom_id first: 12 bytes a slot, so that millions of ids fit where a Set would not.
//
// An id is known by 64 bits of its SHA-1: among 5 million ids two different ones collide with a probability of
// about 7e-7 (birthday bound n² / 2^65), and the price would be one line refused as a duplicate.
//
// The slots lie in many small tables: one large table would hold up everything else while it grows.

import { hash } from 'node:crypto';

const TABLES = 256;
const INITIAL_SLOTS = 8;

export class CustomIdIndex {
  readonly #tables: IdTable[] = Array.from({ length: TABLES }, () => new IdTable());

  /** Remembers the id for this line (1-based); answers the earlier line that has it, or null. */
  add(customId: string, line: number): number | null {
    // As UTF-16, because UTF-8 has but one stand-in for all broken surrogates. The digest comes as a string of
    // bytes: a buffer of its own for each of millions of ids would be the dearest part of an upload.
    const digest = hash('sha1', Buffer.from(customId, 'utf16le'), 'binary');
    const table = this.#tables[digest.charCodeAt(8)];
    if (!table) throw new Error('a byte is below 256');
    return table.add(wordAt(digest, 0), wordAt(digest, 4), line);
  }
}

/** Open addressing with linear probes. */
class IdTable {
  #high = new Uint32Array(INITIAL_SLOTS);
  #low = new Uint32Array(INITIAL_SLOTS);
  /** 0: the slot is free. */
  #lines = new Uint32Array(INITIAL_SLOTS);
  #size = 0;

  add(high: number, low: number, line: number): number | null {
    const slot = this.#find(high, low);
    const earlier = this.#lines[slot];
    if (earlier) return earlier;
    this.#set(slot, high, low, line);
    this.#size += 1;
    // At most two thirds full, or the probes grow long.
    if (this.#size * 3 > this.#lines.length * 2) this.#grow();
    return null;
  }

  #find(high: number, low: number): number {
    const mask = this.#lines.length - 1;
    let slot = high & mask;
    while (this.#lines[slot] !== 0 && (this.#high[slot] !== high || this.#low[slot] !== low)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #set(slot: number, high: number, low: number, line: number): void {
    this.#high[slot] = high;
    this.#low[slot] = low;
    this.#lines[slot] = line;
  }

  #grow(): void {
    const [highs, lows, lines] = [this.#high, this.#low, this.#lines];
    this.#high = new Uint32Array(lines.length * 2);
    this.#low = new Uint32Array(lines.length * 2);
    this.#lines = new Uint32Array(lines.length * 2);
    for (const [slot, line] of lines.entries()) {
      if (line === 0) continue;
      const [high, low] = [highs[slot] ?? 0, lows[slot] ?? 0];
      this.#set(this.#find(high, low), high, low, line);
    }
  }
}

/** Four bytes of a digest as a number. */
function wordAt(digest: string, start: number): number {
  let word = 0;
  for (let index = start; index < start + 4; index += 1) word = (word << 8) | digest.charCodeAt(index);
  return word >>> 0;
}
