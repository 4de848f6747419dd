// Scores how well a statement answers a question: the question's terms it has, each by how rare the term is among the
// statements (the inverse document frequency of BM25), with part credit for terms that stand only nearby.
// A term counts once: repetitions and the statement's length were measured and do not help.

import type { Statement } from './statements.ts';
import { termsOf } from './terms.ts';

/**
 * What each part of the score is worth. Coarse values, because finer ones made no difference on a public question set;
 * `bench/answer-quality.ts` shows what is lost without each.
 */
export interface Weights {
  /** Credit for a term that only the sentence before has, as when "he" stands for its subject. */
  readonly beforeCredit: number;
  /** Credit for a term that only the title or the heading has: Markdown sections seldom repeat their subject. */
  readonly headingCredit: number;
  /** Credit for a word of the same beginning, as "Norman" for "Normandy". */
  readonly prefixCredit: number;
  /** Extra for two neighbouring terms of the question that are neighbours here too. */
  readonly pairBonus: number;
  /** Extra for a list item or table row that opens with a term of the question. In prose this does harm. */
  readonly subjectBonus: number;
  /** Share taken off per rank of the passage. */
  readonly rankPenalty: number;
  /** Share of the first statement's terms' weight taken off a second one that repeats them. */
  readonly repeatPenalty: number;
  /** Share taken off a second statement that does not fit whole: fewer answers end in the middle, none is lost. */
  readonly cutPenalty: number;
}

export const DEFAULT_WEIGHTS: Weights = {
  beforeCredit: 0.35,
  headingCredit: 0.3,
  prefixCredit: 0.5,
  pairBonus: 0.5,
  subjectBonus: 0.3,
  rankPenalty: 0.1,
  repeatPenalty: 0.15,
  cutPenalty: 0.2,
};

/** Words that agree in this many first letters are taken for relatives. */
const PREFIX_LENGTH = 5;
/** A longer "question" is a pasted text; its first terms speak for it, and the work stays bounded. */
const QUESTION_TERMS_MAX = 200;

/** A question's terms, weighed by how rare they are among the statements at hand. */
export interface WeighedQuestion {
  readonly weights: ReadonlyMap<string, number>;
  readonly totalWeight: number;
  /** Neighbouring terms, joined by a space. */
  readonly pairs: ReadonlySet<string>;
  readonly byPrefix: ReadonlyMap<string, readonly string[]>;
}

/** Robertson/Spärck Jones weight as BM25 uses it, never negative. */
export function inverseFrequency(documents: number, documentsWithTerm: number): number {
  return Math.log(1 + (documents - documentsWithTerm + 0.5) / (documentsWithTerm + 0.5));
}

/** Weighs the question's terms; null when it has none but common words. */
export function weighQuestion(question: string, statements: readonly Statement[]): WeighedQuestion | null {
  const terms = termsOf(question).slice(0, QUESTION_TERMS_MAX);
  if (terms.length === 0) return null;
  const weights = new Map<string, number>();
  const byPrefix = new Map<string, string[]>();
  let totalWeight = 0;
  for (const term of new Set(terms)) {
    const holders = statements.filter(({ termSet }) => termSet.has(term)).length;
    const weight = inverseFrequency(statements.length, holders);
    weights.set(term, weight);
    totalWeight += weight;
    if (term.length < PREFIX_LENGTH) continue;
    const prefix = term.slice(0, PREFIX_LENGTH);
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), term]);
  }
  const pairs = new Set(terms.slice(1).map((term, index) => `${terms[index]} ${term}`));
  return { weights, totalWeight, pairs, byPrefix };
}

/** The question's terms of which the statement has only a relative. */
function relatedTerms(question: WeighedQuestion, statement: Statement): Set<string> {
  const related = new Set<string>();
  for (const term of statement.termSet) {
    for (const relative of question.byPrefix.get(term.slice(0, PREFIX_LENGTH)) ?? []) related.add(relative);
  }
  return related;
}

function pairScore(question: WeighedQuestion, terms: readonly string[]): number {
  let score = 0;
  for (const [index, term] of terms.entries()) {
    const before = terms[index - 1];
    if (before === undefined || !question.pairs.has(`${before} ${term}`)) continue;
    score += Math.min(question.weights.get(before) ?? 0, question.weights.get(term) ?? 0);
  }
  return score;
}

/** The score of a statement, given the statement before it in the same passage. */
export function scoreStatement(
  question: WeighedQuestion,
  statement: Statement,
  before: Statement | undefined,
  weights: Weights,
): number {
  const related = relatedTerms(question, statement);
  let score = weights.pairBonus * pairScore(question, statement.terms);
  score += weights.subjectBonus * (question.weights.get(statement.subjectTerm ?? '') ?? 0);
  for (const [term, weight] of question.weights) {
    const isHere = statement.termSet.has(term);
    const credit = Math.max(
      isHere ? 1 : 0,
      related.has(term) ? weights.prefixCredit : 0,
      before?.termSet.has(term) ? weights.beforeCredit : 0,
      statement.headingTerms.has(term) ? weights.headingCredit : 0,
    );
    score += weight * credit;
  }
  return score * Math.max(0, 1 - weights.rankPenalty * statement.passage);
}
