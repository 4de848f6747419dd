// Which line brought a custom_id first: 12 bytes a slot, so that millions of ids fit where a Set would not.
//
// An id is known by 64 bits of its SHA-1: among 5 million ids two different ones collide with a probability of
// about 7e-7 (birthday bound n² / 2^65), and the price would be one line refused as a duplicate.

import { hash } from 'node:crypto';

const INITIAL_SLOTS = 1024;

export class CustomIdIndex {
  #high = new Uint32Array(INITIAL_SLOTS);
  #low = new Uint32Array(INITIAL_SLOTS);
  /** 0: the slot is free. */
  #lines = new Uint32Array(INITIAL_SLOTS);
  #size = 0;

  /** Remembers the id for this line (1-based); answers the earlier line that has it, or null. */
  add(customId: string, line: number): number | null {
    // As UTF-16, because UTF-8 has but one stand-in for all broken surrogates.
    const digest = hash('sha1', Buffer.from(customId, 'utf16le'), 'buffer');
    const high = digest.readUInt32LE(0);
    const low = digest.readUInt32LE(4);
    const slot = this.#find(high, low);
    const earlier = this.#lines[slot];
    if (earlier) return earlier;
    this.#set(slot, high, low, line);
    this.#size += 1;
    // At most half full, or the linear probes grow long.
    if (this.#size * 2 > this.#lines.length) this.#grow();
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
