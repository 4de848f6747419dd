// A batch keeps the text of each passage that stood in one of its prompts once, by content hash. This knows which
// texts a batch has already, so that they are not sent to the store with every line.

import { hash } from 'node:crypto';
import type { Passage } from '../domain/passage.ts';
import type { KeptPassage } from '../domain/record.ts';

/** The content hash of a passage: its distance belongs to the question, not to it. */
export function passageHash(kept: KeptPassage): string {
  return hash('sha256', JSON.stringify(kept), 'hex').slice(0, 32);
}

export function withoutDistance(passage: Passage): KeptPassage {
  const { documentId, chunk, title, source, text } = passage;
  return { documentId, chunk, title, source, text };
}

export class PassageKeeper {
  readonly #stored = new Map<string, Set<string>>();

  /**
   * The hashes of passages, in their order. They are made of the text each time, 4 microseconds for one of 1,300 characters:
   * what stands at a place of the corpus may be edited there in a collection that is somebody else's.
   */
  hashesOf(passages: readonly Passage[]): string[] {
    return passages.map((passage) => passageHash(withoutDistance(passage)));
  }

  /** Those of the passages that the batch may not have yet. */
  missing(
    batchId: string,
    hashes: readonly string[],
    passages: readonly Passage[],
  ): Map<string, KeptPassage> {
    const stored = this.#stored.get(batchId);
    const missing = new Map<string, KeptPassage>();
    for (const [index, passage] of passages.entries()) {
      const key = hashes[index];
      if (key !== undefined && !stored?.has(key)) missing.set(key, withoutDistance(passage));
    }
    return missing;
  }

  markStored(batchId: string, hashes: Iterable<string>): void {
    const stored = this.#stored.get(batchId) ?? new Set();
    for (const key of hashes) stored.add(key);
    this.#stored.set(batchId, stored);
  }

  /** The batch has ended. */
  forget(batchId: string): void {
    this.#stored.delete(batchId);
  }
}
