// One attempt to find passages for some questions, in one build of the collection: embedded, asked for, ranked. All
// passages of a question are of that build.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RetrievalOutcome } from '../domain/passage.ts';
import type { Where } from '../domain/where.ts';
import type { ErrorCode } from '../errors.ts';
import { type CallLimits, type ChromaFailure, type ChromaFailureClass, failure } from './chroma-client.ts';
import { type FoundRecord, toPassage } from './chunk-record.ts';
import { candidatesFor, rankExactly } from './exact-ranking.ts';
import { embedQuestions, type QuestionWithoutVector } from './question-vectors.ts';
import type { ReadyCollection } from './ready-collection.ts';

/** What is wished for of retrieval. */
export interface RetrievalWish {
  /** At most this many passages. */
  readonly topK: number;
  /** Passages farther away are left out; null keeps them all. */
  readonly maxDistance: number | null;
  /** Only passages whose metadata match; null: all. */
  readonly where: Where | null;
}

export interface Question extends RetrievalWish {
  readonly query: string;
}

/** An outcome as long as nobody has counted the attempts. */
export type Ending = RetrievalOutcome extends infer Outcome
  ? Outcome extends unknown
    ? Omit<Outcome, 'attempts'>
    : never
  : never;

export interface Searched<Asked extends Question> {
  readonly answered: readonly { readonly question: Asked; readonly ending: Ending }[];
  /** Those that this attempt has no answer for, and why. */
  readonly failed: readonly Asked[];
  readonly failure: ChromaFailure | null;
}

/** Questions ranked in one turn of the event loop: a few milliseconds at most. */
const rankedPerTurn = 4;

const gaveTooFew = { kind: 'failed', class: 'server', message: 'The embedder gave too few vectors' } as const;

/** `questions` share `topK` and `where`. */
export async function searchPassages<Asked extends Question>(
  build: ReadyCollection,
  questions: readonly Asked[],
  limits: CallLimits,
): Promise<Searched<Asked>> {
  const embedded = await embedQuestions(
    build.embedder,
    questions.map(({ query }) => query),
    limits,
  );
  const answered: { question: Asked; ending: Ending }[] = [];
  const failed: Asked[] = [];
  let why: ChromaFailure | null = null;
  const asked: { question: Asked; vector: Float32Array }[] = [];
  for (const [index, question] of questions.entries()) {
    const verdict = embedded[index] ?? gaveTooFew;
    if (verdict.kind === 'vector') asked.push({ question, vector: verdict.vector });
    else if (verdict.kind === 'failed') {
      failed.push(question);
      why = failure(verdict.class, verdict.message);
    } else answered.push({ question, ending: softEnding(verdict, build) });
  }
  const [first] = asked;
  if (first === undefined) return { answered, failed, failure: why };
  const { topK, where } = first.question;
  const found = await build.collection.query(
    asked.map(({ vector }) => vector),
    { ...limits, topK: candidatesFor(build.embedder, topK), where },
  );
  if (found.kind === 'failure') {
    return { answered, failed: [...failed, ...asked.map(({ question }) => question)], failure: found };
  }
  for (const [index, { question }] of asked.entries()) {
    // Ranking is work for the processor: other callers get their turn in between.
    if (index % rankedPerTurn === rankedPerTurn - 1) await nextTurn();
    answered.push({ question, ending: select(question, found.value[index] ?? [], build) });
  }
  return { answered, failed, failure: why };
}

const hardCodes: Partial<Record<ChromaFailureClass, ErrorCode>> = {
  timeout: 'rag_timeout',
  rejected: 'rag_rejected',
};

/** How a question ends that has failed for good. */
export function hardEnding({ class: failureClass, message }: ChromaFailure): Ending {
  const code: ErrorCode = hardCodes[failureClass] ?? 'rag_unavailable';
  return { kind: 'hard_failure', code, message };
}

function select(question: Question, records: readonly FoundRecord[], build: ReadyCollection): Ending {
  const { maxDistance } = question;
  if (records.length === 0) return nothing('Nothing in the collection matches `where`', build);
  const related = rankExactly(build.embedder, question, records);
  if (related.length === 0) return nothing('No passage shares a term with the question', build);
  const near = related.filter((record) => maxDistance === null || record.distance <= maxDistance);
  if (near.length === 0) return nothing(`No passage is within distance ${maxDistance}`, build);
  return {
    kind: 'success',
    passages: near.map(toPassage),
    collectionGeneration: build.record.generation,
  };
}

function softEnding({ kind, message }: QuestionWithoutVector, build: ReadyCollection): Ending {
  if (kind === 'no_term') return nothing(message, build);
  const code: ErrorCode = 'query_unusable';
  return { kind: 'soft_failure', code, message, collectionGeneration: build.record.generation };
}

function nothing(message: string, build: ReadyCollection): Ending {
  const code: ErrorCode = 'nothing_found';
  return { kind: 'soft_failure', code, message, collectionGeneration: build.record.generation };
}
