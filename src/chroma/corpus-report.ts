// What a reading of the corpus left out, and why: said at start, so that nothing is missing in silence.

export type CorpusProblemReason =
  | 'unreadable'
  | 'not_text'
  | 'empty'
  | 'too_large'
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

/** Problems kept with their texts; all are counted. */
const problemsKept = 100;

export class CorpusReport {
  /** Documents read. */
  documents = 0;
  /** Files of kinds that are not read, by extension (".pdf"), or by name where there is none. */
  readonly unsupportedFiles = new Map<string, number>();
  /** The first problems, in the order of reading. */
  readonly problems: CorpusProblem[] = [];
  /** All problems, by reason. */
  readonly problemCounts = new Map<CorpusProblemReason, number>();

  addUnsupported(kind: string): void {
    this.unsupportedFiles.set(kind, (this.unsupportedFiles.get(kind) ?? 0) + 1);
  }

  addProblem(problem: CorpusProblem): void {
    this.problemCounts.set(problem.reason, (this.problemCounts.get(problem.reason) ?? 0) + 1);
    if (this.problems.length < problemsKept) this.problems.push(problem);
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
