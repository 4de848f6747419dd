// A corpus chunk as a record of a collection, and back as a passage. The keys are ours; a document's own metadata stands
// beside them under its own names, so that it can be filtered by.

import type { Metadata } from 'chromadb';
import type { CorpusChunk } from '../domain/corpus.ts';
import type { Passage } from '../domain/passage.ts';
import { indexedText } from './lexical-embedder.ts';

const keys = {
  documentId: 'ragmill_document_id',
  chunk: 'ragmill_chunk',
  title: 'ragmill_title',
  source: 'ragmill_source',
} as const;

/** The same chunk has the same id in every build, so that a write repeated after a broken connection changes nothing. */
export function recordId(chunk: CorpusChunk): string {
  return `${chunk.documentId}#${chunk.chunk}`;
}

export function recordMetadata(chunk: CorpusChunk): Metadata {
  return {
    ...chunk.metadata,
    [keys.documentId]: chunk.documentId,
    [keys.chunk]: chunk.chunk,
    ...(chunk.title === null ? {} : { [keys.title]: chunk.title }),
    ...(chunk.source === null ? {} : { [keys.source]: chunk.source }),
  };
}

/** A record as a query returns it. */
export interface FoundRecord {
  readonly id: string;
  readonly text: string;
  readonly metadata: Metadata;
  /** Finite: records without a distance, which a broken vector gets, are never handed on. */
  readonly distance: number;
}

/** What the record's vector was made of. */
export function textAsIndexed(record: FoundRecord): string {
  return indexedTextOf(record.text, record.metadata);
}

/** What the vector of a record with this text and metadata was made of. */
export function indexedTextOf(text: string, metadata: Metadata): string {
  return indexedText({ title: textOrNull(metadata[keys.title]), text });
}

/** The passage of a record that `recordMetadata` described. */
export function toPassage(record: FoundRecord): Passage {
  const { metadata } = record;
  const documentId = metadata[keys.documentId];
  const chunk = metadata[keys.chunk];
  return {
    documentId: typeof documentId === 'string' ? documentId : record.id,
    chunk: typeof chunk === 'number' ? chunk : 0,
    title: textOrNull(metadata[keys.title]),
    source: textOrNull(metadata[keys.source]),
    text: record.text,
    distance: record.distance,
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
