// Whether retrieval works at all, found out by a question of our own.

import type { CallLimits, ChromaFailure } from './chroma-client.ts';
import type { CollectionHandle } from './collection-handle.ts';
import type { OutageCause } from './outage.ts';
import { embedQuestions } from './question-vectors.ts';

const probeQuestion = 'ragmill';

/** null: it works, if need be because the collection was healed. Never rejects. */
export async function probeRetrieval(
  handle: CollectionHandle,
  limits: CallLimits,
): Promise<OutageCause | null> {
  const build = handle.current;
  const [verdict] = await embedQuestions(build.embedder, [probeQuestion], limits);
  if (verdict?.kind === 'failed') return { dependency: 'embedder', message: verdict.message };
  const vector = verdict?.kind === 'vector' ? verdict.vector : unitVector(build.embedder.dimensions);
  const found = await build.collection.query([vector], { ...limits, topK: 1 });
  if (found.kind === 'ok') return null;
  if (found.class !== 'not_found') return causeOf(found);
  const healed = await handle.heal(build);
  return healed.kind === 'ok' ? null : causeOf(healed);
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
