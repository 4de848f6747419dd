// Whether retrieval works at all, found out by a question of our own.

import type { CallLimits, ChromaFailure, ChromaFailureClass } from './chroma-client.ts';
import type { CollectionHandle } from './collection-handle.ts';
import type { OutageCause } from './outage.ts';
import { embedQuestions } from './question-vectors.ts';
import type { ReadyCollection } from './ready-collection.ts';

const probeQuestion = 'ragmill';

/**
 * null: it works, if need be because the collection was healed. A collection that is there and complete, and still answers
 * "not found", is damaged: it is an outage, and the next probe has it built anew. Never rejects.
 */
export async function probeRetrieval(
  handle: CollectionHandle,
  limits: CallLimits,
): Promise<OutageCause | null> {
  const build = handle.current;
  const first = await ask(build, limits);
  if (first === null) handle.condemn(null);
  if (first === null || first.failure !== 'not_found') return first?.cause ?? null;
  const healed = await handle.heal(build);
  if (healed.kind === 'failure') return causeOf(healed);
  const again = await ask(healed.value, limits);
  if (again?.failure === 'not_found') handle.condemn(healed.value);
  return again?.cause ?? null;
}

/** null: it was answered. */
async function ask(
  { embedder, collection }: ReadyCollection,
  limits: CallLimits,
): Promise<{ cause: OutageCause; failure: ChromaFailureClass } | null> {
  const [verdict] = await embedQuestions(embedder, [probeQuestion], limits);
  if (verdict?.kind === 'failed') {
    return { cause: { dependency: 'embedder', message: verdict.message }, failure: verdict.class };
  }
  const vector = verdict?.kind === 'vector' ? verdict.vector : unitVector(embedder.dimensions);
  const found = await collection.query([vector], { ...limits, topK: 1 });
  return found.kind === 'ok' ? null : { cause: causeOf(found), failure: found.class };
}

function causeOf({ class: failureClass, message }: ChromaFailure): OutageCause {
  const isCollection = failureClass === 'not_found' || failureClass === 'not_owned';
  return { dependency: isCollection ? 'collection' : 'chroma', message };
}

function unitVector(dimensions: number): Float32Array {
  const vector = new Float32Array(dimensions);
  vector[0] = 1;
  return vector;
}
