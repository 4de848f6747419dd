// What a reading of the corpus found, what it left out, and why: said at start and kept, so that nothing is missing in
// silence.

import type { ExtractionFailureReason } from './extraction.ts';

export type CorpusProblemReason =
  | ExtractionFailureReason
  | 'missing_pages'
  | 'not_text'
  | 'empty'
  | 'bad_line'
  | 'duplicate_id';

export interface CorpusProblem {
  /** Path relative to the corpus. */
  readonly file: string;
  /** 1-based line of a JSONL file, or null where the whole file was skipped. */
  readonly line: number | null;
  readonly reason: CorpusProblemReason;
  /** One sentence without file and line. */
  readonly message: string;
}

/** A reading that came to its end. */
export interface CorpusSummary {
  readonly documents: number;
  readonly chunks: number;
  /** Files and lines that were passed over, by reason; `missing_pages` counts documents that were read in part. */
  readonly skipped: Readonly<Partial<Record<CorpusProblemReason, number>>>;
  /** Files of kinds that are not read, by extension (".docx"), or by name where there is none. */
  readonly unsupported: Readonly<Record<string, number>>;
  /** The first hundred of those skipped, in the order of reading. */
  readonly problems: readonly CorpusProblem[];
}

/** Problems kept with their texts; all are counted. */
const problemsKept = 100;
/** Kinds of files counted by name; a folder may have as many as it has files. */
const kindsKept = 100;
const otherKinds = 'others';

export class CorpusReport {
  /** Documents read. */
  documents = 0;
  /** Made of the documents, by whoever cuts them. */
  chunks = 0;
  readonly unsupportedFiles = new Map<string, number>();
  readonly problems: CorpusProblem[] = [];
  readonly problemCounts = new Map<CorpusProblemReason, number>();

  addUnsupported(kind: string): void {
    const isKept = this.unsupportedFiles.has(kind) || this.unsupportedFiles.size < kindsKept;
    const name = isKept ? kind : otherKinds;
    this.unsupportedFiles.set(name, (this.unsupportedFiles.get(name) ?? 0) + 1);
  }

  addProblem(problem: CorpusProblem): void {
    this.problemCounts.set(problem.reason, (this.problemCounts.get(problem.reason) ?? 0) + 1);
    if (this.problems.length < problemsKept) this.problems.push(problem);
  }

  summary(): CorpusSummary {
    return {
      documents: this.documents,
      chunks: this.chunks,
      skipped: Object.fromEntries(this.problemCounts),
      unsupported: Object.fromEntries(this.unsupportedFiles),
      problems: [...this.problems],
    };
  }

  /** What was skipped, in one line, with the first problem as an example; empty when nothing was. */
  describeSkipped(): string {
    const kinds = [...this.unsupportedFiles].map(([kind, count]) => `${count} × ${kind}`);
    const reasons = [...this.problemCounts].map(([reason, count]) => `${count} × ${reason}`);
    const [first] = this.problems;
    const where = first && (first.line === null ? first.file : `${first.file}, line ${first.line}`);
    return [
      kinds.length > 0 ? `files of other kinds: ${kinds.join(', ')}` : '',
      reasons.length > 0 ? `skipped: ${reasons.join(', ')}` : '',
      first ? `first: ${where}: ${first.message}` : '',
    ]
      .filter(Boolean)
      .join('; ');
  }
}
