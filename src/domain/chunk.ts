// The unit of claiming work: lines stored together, and the right to work on them.

/** Most lines in a chunk. */
export const CHUNK_LINES = 256;
/** Most raw bytes in a chunk; one longer line is a chunk by itself. */
export const CHUNK_BYTES = 1024 * 1024;

/** Why a line cannot be run: found at upload, where alone the whole batch is seen (duplicate ids). */
export interface StoredProblem {
  readonly line: number;
  readonly code: string;
  readonly message: string;
}

/** Lines on their way into the store. */
export interface NewChunk {
  /** 0-based position in the batch. */
  readonly number: number;
  /** 1-based number of its first line in the upload. */
  readonly firstLine: number;
  /** Lines of the batch in it: without the blank ones. */
  readonly lineCount: number;
  /** Numbers of the blank lines between its first and its last one, ascending. */
  readonly blankLines: readonly number[];
  /** The lines as uploaded, joined by `\n`; blank ones are empty. */
  readonly text: Buffer;
  /** Its lines that cannot be run, ascending. */
  readonly problems: readonly StoredProblem[];
}

/** The right to work on a chunk. A write under a token that is no longer the chunk's changes nothing. */
export interface Lease {
  readonly batchId: string;
  readonly chunk: number;
  /** Fencing token: grows with every lease the store gives. */
  readonly token: number;
}

/** Deaths of the process, each while the line was started, after which the line is a suspect. */
export const SUSPECT_DEATHS = 3;

/** A chunk, leased. Blank lines in its text are no lines of the batch. */
export interface ClaimedChunk {
  readonly lease: Lease;
  /** How its lines end without running; null: they run. */
  readonly ending: 'cancelled' | 'expired' | null;
  readonly firstLine: number;
  readonly text: Buffer;
  readonly problems: readonly StoredProblem[];
  /** Lines of the chunk that need no record in this run: they have it, or a retry left them out. */
  readonly finishedLines: readonly number[];
  /** Open lines that were started at SUSPECT_DEATHS or more deaths of the process. */
  readonly suspectLines: readonly number[];
  /** How many more lines may run before the batch pauses (pause_after); null: any number. */
  readonly runnableLines: number | null;
}
