// The first stage of a line: its passages, from the build of the collection that is READY now.

import { setMaxListeners } from 'node:events';
import type { RequestOptions } from '../domain/options.ts';
import type { RetrievalOutcome } from '../domain/passage.ts';
import type { Metrics } from '../metrics.ts';
import type { Clock } from '../time.ts';
import type { Hand } from './hand.ts';
import type { PassageKeeper } from './passage-keeper.ts';
import type { RetrievalTurns } from './retrieval-turns.ts';
import type { SharedTexts } from './shared-texts.ts';
import type { Work } from './work.ts';

type RetrievalQuery = Pick<RequestOptions, 'topK' | 'maxDistance' | 'where'> & { readonly query: string };

export interface RetrievingOptions {
  readonly retrieve: (query: RetrievalQuery, signal: AbortSignal) => Promise<RetrievalOutcome>;
  /** Number of the collection's build that is READY now. */
  readonly collectionGeneration: () => number;
  readonly keeper: PassageKeeper;
  readonly sharedTexts: SharedTexts;
  readonly hand: Pick<Hand, 'retrieving' | 'retrieved' | 'grow'>;
  readonly turns: RetrievalTurns;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** Also noted on the line; null: a pause came first, or the lease is gone. */
export async function retrieveFor(work: Work, options: RetrievingOptions): Promise<RetrievalOutcome | null> {
  const { clock, metrics, hand } = options;
  const startedAtMs = clock.monotonicMs();
  hand.retrieving();
  const asked = options.turns.run(work.chunk, () => askUntilCurrent(work, options));
  const outcome = await asked.finally(() => hand.retrieved());
  if (outcome === null) return null;
  work.retrieval = outcome.kind === 'success' ? keep(work, outcome, options) : outcome;
  work.retrievalMs = clock.monotonicMs() - startedAtMs;
  metrics.stageDuration.observe({ stage: 'retrieval' }, work.retrievalMs / 1000);
  return work.retrieval;
}

/** Notes what was found: its texts are in memory until the line ends. */
function keep(
  work: Work,
  found: Extract<RetrievalOutcome, { readonly kind: 'success' }>,
  { keeper, sharedTexts, hand }: RetrievingOptions,
): RetrievalOutcome {
  const passages = found.passages.map((passage) => ({ ...passage, text: sharedTexts.of(passage.text) }));
  work.passageHashes = keeper.hashesOf(passages);
  work.contextBytes = passages.reduce((sum, { text }) => sum + text.length, 0);
  hand.grow(work.chunk, work.contextBytes);
  return { ...found, passages };
}

/** What was found for the line is not needed any more. */
export function letGo(work: Work, { hand }: Pick<RetrievingOptions, 'hand'>): void {
  hand.grow(work.chunk, -work.contextBytes);
  work.contextBytes = 0;
}

async function askUntilCurrent(
  { chunk, parsed }: Work,
  { retrieve, collectionGeneration }: RetrievingOptions,
): Promise<RetrievalOutcome | null> {
  const { topK, maxDistance, where } = parsed.options;
  const query = { query: parsed.request.query, topK, maxDistance, where };
  for (;;) {
    const outcome = await retrieve(query, chunk.retrieving.signal).catch((error: unknown) => {
      if (chunk.retrieving.signal.aborted || chunk.isPausing) return null;
      throw error;
    });
    if (outcome === null && (chunk.isPausing || chunk.controller.signal.aborted)) return null;
    // A build that has been replaced may hold what the corpus no longer does.
    if (outcome !== null && !isOutdated(outcome, collectionGeneration())) return outcome;
  }
}

export function isOutdated(outcome: RetrievalOutcome, generation: number): boolean {
  return 'collectionGeneration' in outcome && outcome.collectionGeneration !== generation;
}

/** Every line of the chunk listens to its signal. */
export function retrievingController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
