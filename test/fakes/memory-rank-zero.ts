// Rank 0's side of the store, in memory: who is rank 0, and the READY record.

import type { CollectionRecord, RankZero } from '../../src/domain/collection.ts';
import { RagmillError } from '../../src/errors.ts';

export class MemoryRankZero implements RankZero {
  readonly storeId: string;
  /** Set to make another process hold rank 0. */
  isHeldElsewhere = false;
  #token = 0;
  #record: CollectionRecord | null = null;

  constructor(storeId = 'store-a') {
    this.storeId = storeId;
  }

  acquireRankZero(): Promise<number | null> {
    return Promise.resolve(this.isHeldElsewhere ? null : ++this.#token);
  }

  currentCollection(): Promise<CollectionRecord | null> {
    return Promise.resolve(this.#record);
  }

  recordReady(
    token: number,
    built: { uuid: string; name: string; count: number; fingerprint: string },
  ): Promise<CollectionRecord> {
    if (token !== this.#token)
      return Promise.reject(new RagmillError('rank_lost', 'Another process is rank 0.'));
    this.#record = { ...built, generation: (this.#record?.generation ?? 0) + 1, readyAt: 1_700_000_000 };
    return Promise.resolve(this.#record);
  }
}
