// The lines of a claimed chunk that still need a record.

import type { ClaimedChunk } from '../domain/chunk.ts';
import type { RequestOptions } from '../domain/options.ts';
import { type ParsedLine, parseLine } from './line-parser.ts';

interface StoredBadLine {
  readonly code: string;
  readonly message: string;
  readonly customId: string | null;
}

export type OpenLine =
  | { readonly line: number; readonly kind: 'good'; readonly parsed: ParsedLine; readonly isSuspect: boolean }
  | { readonly line: number; readonly kind: 'bad'; readonly bad: StoredBadLine };

const NEWLINE = 0x0a;

/** What was found wrong at upload stands: only there the whole batch was seen. */
export function openLinesOf(claimed: ClaimedChunk, options: RequestOptions): OpenLine[] {
  const finished = new Set(claimed.finishedLines);
  const suspects = new Set(claimed.suspectLines);
  const problems = new Map(claimed.problems.map((problem) => [problem.line, problem]));
  return split(claimed.text).flatMap((raw, index): OpenLine[] => {
    const line = claimed.firstLine + index;
    // A line over the limit is empty here too, but it has its problem.
    if (finished.has(line) || (raw.length === 0 && !problems.has(line))) return [];
    const parsed = parseLine(raw, options);
    const problem = problems.get(line);
    if (problem) return [{ line, kind: 'bad', bad: { ...problem, customId: parsed.customId } }];
    if ('code' in parsed) return [{ line, kind: 'bad', bad: parsed }];
    return [{ line, kind: 'good', parsed, isSuspect: suspects.has(line) }];
  });
}

function split(text: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = text.indexOf(NEWLINE); end !== -1; end = text.indexOf(NEWLINE, start)) {
    lines.push(text.subarray(start, end));
    start = end + 1;
  }
  lines.push(text.subarray(start));
  return lines;
}
