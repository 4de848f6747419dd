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
  weights: Weights,
): Candidate | undefined {
  const room = roomAfter(first);
  let chosen: Candidate | undefined;
  let chosenValue = 0;
  for (const candidate of rest) {
    if (candidate.score < SECOND_MIN_SHARE * first.score) break;
    if (candidate.statement.text === first.statement.text) continue;
    let repeated = 0;
    for (const [term, weight] of question.weights) {
      if (candidate.statement.termSet.has(term) && first.statement.termSet.has(term)) repeated += weight;
    }
    const isCut = candidate.statement.text.length > room;
    const value = (candidate.score - weights.repeatPenalty * repeated) * (isCut ? 1 - weights.cutPenalty : 1);
    if (value > chosenValue) {
      chosen = candidate;
      chosenValue = value;
    }
  }
  return chosen;
}

function roomAfter(first: Candidate): number {
  return ANSWER_MAX_CHARACTERS - Math.min(first.statement.text.length, ANSWER_MAX_CHARACTERS) - 1;
}

function compose(
  first: Candidate,
  second: Candidate | undefined,
  weights: WeighedQuestion['weights'],
): string {
  const firstText = excerpt(first.statement.text, ANSWER_MAX_CHARACTERS, weights);
  if (second === undefined) return firstText;
  const secondText = excerpt(second.statement.text, roomAfter(first), weights);
  const isEarlier = second.statement.passage === first.statement.passage && second.position < first.position;
  const [above, below] = isEarlier ? [secondText, firstText] : [firstText, secondText];
  // A table row or a line of code ends without a stop: a line of its own keeps it apart.
  return `${above}${ENDS_LIKE_SENTENCE.test(above) ? ' ' : '\n'}${below}`;
}

/** Answers `question` from `passages`, best ranked first. Pure; a few milliseconds at the context length. */
export function extractAnswer(
  question: string,
  passages: readonly ContextPassage[],
  weights: Weights = DEFAULT_WEIGHTS,
): Extraction {
  const statements = readStatements(passages);
  const weighed = weighQuestion(plainLine(question), statements);
  if (weighed === null) return { kind: 'not_found', confidence: 0 };
  const [first, ...rest] = rankStatements(weighed, statements, weights);
  if (first === undefined) return { kind: 'not_found', confidence: 0 };
  const confidence = confidenceOf(weighed, first, statements);
  if (confidence < CONFIDENCE_MIN) return { kind: 'not_found', confidence };
  const hasRoom = roomAfter(first) >= SECOND_MIN_CHARACTERS;
  const second = hasRoom ? chooseSecond(weighed, first, rest, weights) : undefined;
  return {
    kind: 'found',
    text: compose(first, second, weighed.weights),
    statements: second === undefined ? 1 : 2,
    confidence,
  };
}
