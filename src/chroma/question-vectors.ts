// Questions to vectors, one verdict for each: a question that cannot be embedded must not spoil its neighbours.

import type { Embedder, EmbedLimits, FailedText, UnusableText } from '../domain/embedder.ts';
import { EmbedderFailure, type EmbedderFailureClass } from './embedder-failure.ts';

/**
 * Why a question has no vector.
 * - no_term: it shares no term with the corpus, so nothing could be found.
 * - unusable: it is over the embedder's limit, or its vector has the wrong length, no direction, or numbers that are
 *   not finite. Chroma would accept a NaN and rank it first.
 * - failed: the embedder itself failed; its class says how.
 */
export type QuestionWithoutVector =
  | { readonly kind: 'no_term' | 'unusable'; readonly message: string }
  | { readonly kind: 'failed'; readonly class: EmbedderFailureClass; readonly message: string };

export type QuestionVector =
  | { readonly kind: 'vector'; readonly vector: Float32Array }
  | QuestionWithoutVector;

/**
 * Embeds all at once. An embedder that says of itself that it fails has failed for all of them and is not asked again; after
 * any other error they are asked one by one, so that only those that fail alone are lost. Rejects only with the
 * reason of the limits' signal.
 */
export async function embedQuestions(
  embedder: Embedder,
  questions: readonly string[],
  limits: EmbedLimits = {},
): Promise<QuestionVector[]> {
  try {
    const vectors = await embedder.embedQueries(questions, limits);
    return questions.map((_question, index) => judge(vectors[index], embedder.dimensions));
  } catch (error) {
    limits.signal?.throwIfAborted();
    if (error instanceof EmbedderFailure) return questions.map(() => failureOf(error));
    if (questions.length > 1) {
      const single = await Promise.all(
        questions.map((question) => embedQuestions(embedder, [question], limits)),
      );
      return single.flat();
    }
    return [
      failed('server', `The embedder failed: ${error instanceof Error ? error.message : String(error)}`),
    ];
  }
}

function failureOf(error: unknown): QuestionWithoutVector {
  if (error instanceof EmbedderFailure) return failed(error.class, error.message);
  return failed('server', `The embedder failed: ${error instanceof Error ? error.message : String(error)}`);
}

function failed(failureClass: EmbedderFailureClass, message: string): QuestionWithoutVector {
  return { kind: 'failed', class: failureClass, message };
}

function judge(
  vector: Float32Array | UnusableText | FailedText | null | undefined,
  dimensions: number,
): QuestionVector {
  if (vector === null) return { kind: 'no_term', message: 'The question shares no term with the corpus' };
  if (vector === undefined) return failed('server', 'The embedder gave too few vectors');
  if (!(vector instanceof Float32Array)) return vector.kind === 'failed' ? failureOf(vector.error) : vector;
  if (vector.length !== dimensions || !isDirection(vector)) {
    return { kind: 'unusable', message: 'The embedder made no usable vector of the question' };
  }
  return { kind: 'vector', vector };
}

/** Finite numbers, and not all of them zero: only such a vector is nearer to some passages than to others. */
export function isDirection(vector: Float32Array): boolean {
  return vector.every(Number.isFinite) && vector.some((value) => value !== 0);
}
