// The store's side of a bootstrap, for a bench that has no store: this process is rank 0, and nobody asks later.

import type { CollectionRecord, RankZero } from '../../src/domain/collection.ts';

export class LoneRankZero implements RankZero {
  readonly storeId = 'bench';
  #record: CollectionRecord | null = null;

  acquireRankZero(): Promise<number> {
    return Promise.resolve(1);
  }

  currentCollection(): Promise<CollectionRecord | null> {
    return Promise.resolve(this.#record);
  }

  recordReady(
    _token: number,
    built: Pick<CollectionRecord, 'uuid' | 'name' | 'count' | 'fingerprint'>,
  ): Promise<CollectionRecord> {
    this.#record = { ...built, generation: 1, readyAt: 0 };
    return Promise.resolve(this.#record);
  }
}
