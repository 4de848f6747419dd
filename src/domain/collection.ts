// What the process that is rank 0 needs of the store, and what it leaves there: the READY record.

/** The READY record: this build of the collection, and no other, serves retrieval. */
export interface CollectionRecord {
  /** 1, 2, 3 …: number of the build. Every result names the one its passages came from. */
  readonly generation: number;
  /** Chroma's id of the collection; a handle bound to another one is stale. */
  readonly uuid: string;
  readonly name: string;
  /** Chunks in the collection. */
  readonly count: number;
  /** Hash of corpus, embedder and chunking. */
  readonly fingerprint: string;
  /** Unix seconds. */
  readonly readyAt: number;
}

export interface RankZero {
  /** Id of the store: the owner mark on every collection that this store's services may reset. */
  readonly storeId: string;
  /** The fencing token of rank 0, or null while another live process holds it. */
  acquireRankZero(): Promise<number | null>;
  currentCollection(): Promise<CollectionRecord | null>;
  /** Stores the READY record under the next generation number. Throws `rank_lost` when the token is stale. */
  recordReady(
    token: number,
    built: { uuid: string; name: string; count: number; fingerprint: string },
  ): Promise<CollectionRecord>;
}
