// Answers a question with one or two statements of its context, word for word, or says that it cannot.

import { excerpt } from './excerpt.ts';
import { plainLine } from './passage-text.ts';
import type { ContextPassage } from './prompt-reader.ts';
import {
  DEFAULT_WEIGHTS,
  scoreStatement,
  type WeighedQuestion,
  type Weights,
  weighQuestion,
} from './scoring.ts';
import { readStatements, type Statement } from './statements.ts';

/** The whole answer is never longer. */
export const ANSWER_MAX_CHARACTERS = 400;
export const NO_ANSWER_TEXT = 'The context does not contain the answer.';
export const NO_CONTEXT_TEXT = 'No context was given, so there is nothing to answer from.';

/**
 * Below this confidence nothing is said. Chosen on a public question set so that about one right answer in fifty
 * is withheld, while most questions about something else are refused (`bench/answer-quality.ts`).
 */
const CONFIDENCE_MIN = 0.35;
/** A second statement must score at least this share of the first. */
const SECOND_MIN_SHARE = 0.3;
const LABEL_MAX_CHARACTERS = 80;
/** Less room than this for a second statement is left empty. */
const SECOND_MIN_CHARACTERS = 60;
const ENDS_LIKE_SENTENCE = /[.!?…。！？।؟]["'”’»)\]]*$/u;

export type Extraction =
  | {
      readonly kind: 'found';
      readonly text: string;
      readonly statements: number;
      readonly confidence: number;
    }
  | { readonly kind: 'not_found'; readonly confidence: number };

interface Candidate {
  readonly statement: Statement;
  /** Place in reading order. */
  readonly position: number;
  readonly score: number;
}

/** Ranks all statements, best first; ties in reading order. */
function rankStatements(
  question: WeighedQuestion,
  statements: readonly Statement[],
  weights: Weights,
): Candidate[] {
  const candidates = statements.map((statement, position) => {
    const previous = statements[position - 1];
    const before = previous?.passage === statement.passage ? previous : undefined;
    return { statement, position, score: scoreStatement(question, statement, before, weights) };
  });
  return candidates.sort((a, b) => b.score - a.score || a.position - b.position);
}

/**
 * How sure it is that the context is about the question, from 0: the mean of the best statement's share of the
 * weight it could have, and the share of the question's terms that its passage has anywhere.
 */
function confidenceOf(question: WeighedQuestion, best: Candidate, statements: readonly Statement[]): number {
  const ofPassage = statements.filter(({ passage }) => passage === best.statement.passage);
  const terms = [...question.weights.keys()];
  const known = terms.filter((term) =>
    ofPassage.some(({ termSet, headingTerms }) => termSet.has(term) || headingTerms.has(term)),
  );
  return (best.score / question.totalWeight + known.length / terms.length) / 2;
}

/** The statement that adds most to the first: what it repeats and what would have to be cut counts against it. */
function chooseSecond(
  question: WeighedQuestion,
  first: Candidate,
  rest: readonly Candidate[],
  { weights, citations }: { readonly weights: Weights; readonly citations: readonly string[] },
): Candidate | undefined {
  let chosen: Candidate | undefined;
  let chosenValue = 0;
  for (const candidate of rest) {
    if (candidate.score < SECOND_MIN_SHARE * first.score) break;
    if (candidate.statement.text === first.statement.text) continue;
    let repeated = 0;
    for (const [term, weight] of question.weights) {
      if (candidate.statement.termSet.has(term) && first.statement.termSet.has(term)) repeated += weight;
    }
    const room = roomAfter(first, candidate, citations);
    if (room < SECOND_MIN_CHARACTERS) continue;
    const isCut = candidate.statement.text.length > room;
    const value = (candidate.score - weights.repeatPenalty * repeated) * (isCut ? 1 - weights.cutPenalty : 1);
    if (value > chosenValue) {
      chosen = candidate;
      chosenValue = value;
    }
  }
  return chosen;
}

/** The room for a second statement beside the first and what both are cited by. */
function roomAfter(first: Candidate, second: Candidate, citations: readonly string[]): number {
  const { length } = excerptOf(first, citations);
  const isSame = first.statement.passage === second.statement.passage;
  return ANSWER_MAX_CHARACTERS - length - 1 - (isSame ? 0 : citationOf(second, citations).length);
}

/** How much of the first statement there may be, and its citation. */
function excerptOf({ statement }: Candidate, citations: readonly string[]): { max: number; length: number } {
  const citation = citations[statement.passage] ?? '';
  const max = ANSWER_MAX_CHARACTERS - citation.length;
  return { max, length: Math.min(statement.text.length, max) + citation.length };
}

function citationOf({ statement }: Candidate, citations: readonly string[]): string {
  return citations[statement.passage] ?? '';
}

function compose(
  first: Candidate,
  second: Candidate | undefined,
  { weights, citations }: { weights: WeighedQuestion['weights']; citations: readonly string[] },
): string {
  const firstText = excerpt(first.statement.text, excerptOf(first, citations).max, weights);
  if (second === undefined) return `${firstText}${citationOf(first, citations)}`;
  const secondText = excerpt(second.statement.text, roomAfter(first, second, citations), weights);
  const isSame = second.statement.passage === first.statement.passage;
  const isEarlier = isSame && second.position < first.position;
  const [above, below] = isEarlier ? [secondText, firstText] : [firstText, secondText];
  // Two statements of one passage are cited once, behind the second.
  const middle = isSame ? '' : citationOf(first, citations);
  // A table row or a line of code ends without a stop: a line of its own keeps it apart.
  const gap = ENDS_LIKE_SENTENCE.test(above) ? ' ' : '\n';
  return `${above}${middle}${gap}${below}${citationOf(second, citations)}`;
}

/** By passage; longer labels would leave too little for the answer. */
function citationsFor(passages: readonly ContextPassage[], isCiting: boolean): string[] {
  return passages.map(({ label }) =>
    isCiting && label !== '' && label.length <= LABEL_MAX_CHARACTERS ? ` [${label}]` : '',
  );
}

interface ExtractOptions {
  readonly weights?: Weights;
  /** Behind each statement stands the label of its passage, in square brackets. */
  readonly isCiting?: boolean;
}

/** Answers `question` from `passages`, best ranked first. Pure; a few milliseconds at the context length. */
export function extractAnswer(
  question: string,
  passages: readonly ContextPassage[],
  { weights = DEFAULT_WEIGHTS, isCiting = false }: ExtractOptions = {},
): Extraction {
  const statements = readStatements(passages);
  const weighed = weighQuestion(plainLine(question), statements);
  if (weighed === null) return { kind: 'not_found', confidence: 0 };
  const [first, ...rest] = rankStatements(weighed, statements, weights);
  if (first === undefined) return { kind: 'not_found', confidence: 0 };
  const confidence = confidenceOf(weighed, first, statements);
  if (confidence < CONFIDENCE_MIN) return { kind: 'not_found', confidence };
  const citations = citationsFor(passages, isCiting);
  const second = chooseSecond(weighed, first, rest, { weights, citations });
  return {
    kind: 'found',
    text: compose(first, second, { weights: weighed.weights, citations }),
    statements: second === undefined ? 1 : 2,
    confidence,
  };
}
