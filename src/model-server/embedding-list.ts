// The vectors in the answer to POST /v1/embeddings: lists of numbers or base64, put back into the order of the inputs.
//
// 1. A vector may hold NaN, where the server had no number to give: whether it can be used is the caller's matter.
// 2. Vectors that cannot be told apart are no answer: one too few, or an index that stands twice.

import { isRecord, parseJson } from './server-words.ts';

export interface EmbeddingList {
  /** In the order of the inputs. */
  readonly vectors: readonly Float32Array[];
  /** The name that the server gives its model; null when it gives none. */
  readonly model: string | null;
}

/** What Python writes for numbers that JSON does not have. */
const NOT_JSON = /-?\b(?:NaN|Infinity)\b/g;

const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT;

/** What is wrong with the text, as a string, when it is not `count` vectors. */
export function parseEmbeddings(text: string, count: number): EmbeddingList | string {
  const payload = parseJson(text) ?? parseJson(text.replace(NOT_JSON, 'null'));
  if (!isRecord(payload) || !Array.isArray(payload.data)) return 'it is no list of embeddings';
  const { data, model } = payload;
  if (data.length !== count) return `it has ${data.length} embeddings for ${count} texts`;
  const vectors = new Array<Float32Array | undefined>(count).fill(undefined);
  for (const [place, item] of data.entries()) {
    if (!isRecord(item)) return 'it is no list of embeddings';
    const index = item.index === undefined ? place : Number(item.index);
    if (index in vectors && vectors[index] !== undefined)
      return `two of its embeddings have the index ${index}`;
    if (!(index in vectors)) return `one of its embeddings has the index ${item.index}`;
    vectors[index] = vectorOf(item.embedding);
    if (vectors[index] === undefined) return 'one of its embeddings is no vector';
  }
  return {
    vectors: vectors.filter((vector) => vector !== undefined),
    model: typeof model === 'string' && model !== '' ? model : null,
  };
}

function vectorOf(embedding: unknown): Float32Array | undefined {
  if (typeof embedding === 'string') return decode(embedding);
  if (!Array.isArray(embedding)) return undefined;
  // llama.cpp wraps a pooled vector into a list of its own on some routes.
  const numbers: readonly unknown[] =
    embedding.length === 1 && Array.isArray(embedding[0]) ? embedding[0] : embedding;
  return Float32Array.from(numbers, (value) => (typeof value === 'number' ? value : Number.NaN));
}

/** Little-endian, as every server sends it and as every machine that Node runs on keeps it. */
function decode(base64: string): Float32Array | undefined {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.byteLength === 0 || bytes.byteLength % FLOAT_BYTES !== 0) return undefined;
  // A copy: a buffer from the pool need not begin at a multiple of four.
  return new Float32Array(Uint8Array.from(bytes).buffer);
}
