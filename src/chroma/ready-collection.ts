// A build of the collection that is READY, and what belongs to it: its number, its embedder, and the way to ask it.

import type { CollectionRecord } from '../domain/collection.ts';
import type { Embedder } from '../domain/embedder.ts';
import type { BoundCollection } from './bound-collection.ts';

export interface ReadyCollection {
  readonly record: CollectionRecord;
  readonly collection: BoundCollection;
  readonly embedder: Embedder;
}
