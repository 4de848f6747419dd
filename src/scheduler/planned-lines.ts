// What the planner is told of a line that waits for a model server.

import { Buffer } from 'node:buffer';
import type { PlanLine, TokenCosts } from '../planning/plan-input.ts';
import { USUAL_ANSWER_TOKENS } from './caller.ts';
import { passagesOf, type Work } from './work.ts';

/**
 * Relative: a token that is written takes a server as long as several that are read. It is the order of magnitude that
 * counts: runs are only begun with these costs, and evened out by stealing.
 */
export const TOKEN_COSTS: TokenCosts = { prefill: 1, decode: 8 };

const BYTES_PER_TOKEN = 4;
/** Of its tag. */
const TOKENS_AROUND_A_PASSAGE = 16;

/** Whether its prompt begins with passages that other lines may have too. */
export function hasSharedBeginning({ stage, digest, passageHashes }: Work): boolean {
  return passageHashes.length > 0 && (stage === 'rag' || digest === null);
}

export function planLineOf(work: Work): PlanLine {
  const passageTokens = passagesOf(work).map(
    ({ text }) => TOKENS_AROUND_A_PASSAGE + Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN),
  );
  const answerTokens = Math.min(work.parsed.options.maxTokens, USUAL_ANSWER_TOKENS);
  const known = passageTokens.reduce((sum, tokens) => sum + tokens, answerTokens);
  const questionTokens = Math.max(0, work.state.tokens - known);
  return { passages: work.passageHashes, passageTokens, questionTokens, answerTokens };
}
