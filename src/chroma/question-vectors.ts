// Questions to vectors, one verdict for each: a question that cannot be embedded must not spoil its neighbours.

import type { Embedder } from '../domain/embedder.ts';

/**
 * Why a question has no vector.
 * - no_term: it shares no term with the corpus, so nothing could be found.
 * - unusable: its vector has the wrong length or is not made of finite numbers. Chroma would accept a NaN and rank it first.
 * - failed: the embedder itself failed.
 */
export interface QuestionWithoutVector {
  readonly kind: 'no_term' | 'unusable' | 'failed';
  readonly message: string;
}

export type QuestionVector =
  | { readonly kind: 'vector'; readonly vector: Float32Array }
  | QuestionWithoutVector;

/** Embeds all at once, and one by one when that fails: then only the questions that fail alone are lost. Never rejects. */
export async function embedQuestions(
  embedder: Embedder,
  questions: readonly string[],
): Promise<QuestionVector[]> {
  try {
    const vectors = await embedder.embedQueries(questions);
    return questions.map((_question, index) => judge(vectors[index], embedder.dimensions));
  } catch (error) {
    if (questions.length > 1) {
      const single = await Promise.all(questions.map((question) => embedQuestions(embedder, [question])));
      return single.flat();
    }
    const reason = error instanceof Error ? error.message : String(error);
    return [{ kind: 'failed', message: `The embedder failed: ${reason}` }];
  }
}

function judge(vector: Float32Array | null | undefined, dimensions: number): QuestionVector {
  if (vector === null) return { kind: 'no_term', message: 'The question shares no term with the corpus' };
  if (vector === undefined) return { kind: 'failed', message: 'The embedder gave too few vectors' };
  if (vector.length !== dimensions || !vector.every(Number.isFinite)) {
    return { kind: 'unusable', message: 'The embedder made no usable vector of the question' };
  }
  return { kind: 'vector', vector };
}
