// Reads an upload line by line, and says of each line whether it can be run. Holds one piece of the file at a time.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { StoredProblem } from '../domain/chunk.ts';
import type { BatchOptions } from '../domain/options.ts';
import { type LineProblem, RagmillError } from '../errors.ts';
import { CustomIdIndex } from './custom-id-index.ts';
import { LineSplitter, type RawLine } from './line-splitter.ts';
import { UploadMeter } from './upload-meter.ts';

export interface UploadLimits {
  readonly maxBatchLines: number;
  readonly maxBatchBytes: number;
  readonly maxLineBytes: number;
}

/** What is wrong with a line. */
export type LineFault = Omit<LineProblem, 'line'>;

export interface LineIntakeOptions {
  readonly limits: UploadLimits;
  /** The custom_id of a line, or what is wrong with it. */
  readonly check: (bytes: Buffer) => string | LineFault;
  /** Whether the request's fingerprint is wanted. */
  readonly isHashed: boolean;
}

/** Takes a line of the batch (blank ones are none): its number, its bytes, and why it cannot be run, if so. */
export type TakeLine = (
  number: number,
  bytes: Buffer,
  problem: StoredProblem | null,
) => Promise<void> | undefined;

/** Most problems that an answer lists. */
export const LISTED_PROBLEMS = 100;

/** How long lines are read at a stretch before others have their turn, and how often the clock is looked at. */
const STRETCH_MS = 5;
const LINES_PER_LOOK = 32;

const NO_BYTES = Buffer.alloc(0);

export class LineIntake {
  readonly meter: UploadMeter;
  readonly #limits: UploadLimits;
  readonly #checkBytes: (bytes: Buffer) => string | LineFault;
  readonly #customIds = new CustomIdIndex();
  readonly #problems: LineProblem[] = [];
  #lines = 0;
  #badLines = 0;
  /** Pieces that lie ready follow each other without a turn, so a stretch may span several. */
  #stretchEndsAtMs = 0;

  constructor({ limits, check, isHashed }: LineIntakeOptions) {
    this.#limits = limits;
    this.#checkBytes = check;
    this.meter = new UploadMeter(limits.maxBatchBytes, isHashed);
  }

  get lines(): number {
    return this.#lines;
  }

  get badLines(): number {
    return this.#badLines;
  }

  /** The first hundred. */
  get problems(): readonly LineProblem[] {
    return this.#problems;
  }

  /**
   * Hands over every line of the batch; what `take` returns is waited for. Throws `too_large` over a limit, and
   * whatever the source and `take` throw.
   */
  async read(source: AsyncIterable<Buffer>, take: TakeLine): Promise<void> {
    const splitter = new LineSplitter(this.#limits.maxLineBytes);
    for await (const piece of source) {
      this.meter.add(piece);
      await this.#takeAll(splitter.push(piece), take);
    }
    await this.#takeAll(splitter.end(), take);
  }

  /** Why these lines can be no batch, if so: `empty_upload`, or `invalid_lines`. */
  refusal(onInvalid: BatchOptions['onInvalid']): RagmillError | null {
    if (this.#lines === 0) {
      return new RagmillError('empty_upload', 'The upload has no lines. Send one JSON object a line.');
    }
    const hasNone = this.#badLines === this.#lines;
    if (this.#badLines === 0 || (onInvalid === 'fail_line' && !hasNone)) return null;
    const counted = hasNone
      ? `None of the ${this.#lines} lines can`
      : `${this.#badLines} of the ${this.#lines} lines cannot`;
    const lines = this.#problems;
    return new RagmillError('invalid_lines', `${counted} be run. Nothing was stored.`, { lines });
  }

  async #takeAll(lines: Iterable<RawLine>, take: TakeLine): Promise<void> {
    for (const raw of lines) {
      if (!isBlank(raw)) {
        // Waiting where there is nothing to wait for would cost more than reading the line.
        const taken = take(raw.number, raw.bytes ?? NO_BYTES, this.#check(raw));
        if (taken !== undefined) await taken;
      }
      if (raw.number % LINES_PER_LOOK === 0 && performance.now() > this.#stretchEndsAtMs) {
        await nextTurn();
        this.#stretchEndsAtMs = performance.now() + STRETCH_MS;
      }
    }
  }

  #check({ number, bytes }: RawLine): StoredProblem | null {
    this.#lines += 1;
    if (this.#lines > this.#limits.maxBatchLines) {
      throw new RagmillError(
        'too_large',
        `The upload has more than ${this.#limits.maxBatchLines} lines (MAX_BATCH_LINES). Split it.`,
      );
    }
    const customId = bytes === null ? this.#tooLong() : this.#checkBytes(bytes);
    const bad = typeof customId === 'string' ? this.#duplicate(customId, number) : customId;
    if (!bad) return null;
    this.#badLines += 1;
    const { code, message, param } = bad;
    const problem = { line: number, code, message, ...(param === undefined ? {} : { param }) };
    if (this.#problems.length < LISTED_PROBLEMS) this.#problems.push(problem);
    return problem;
  }

  #tooLong(): LineFault {
    const message = `The line is over ${this.#limits.maxLineBytes} bytes (MAX_LINE_BYTES).`;
    return { code: 'line_too_long', message };
  }

  #duplicate(customId: string, line: number): LineFault | null {
    const earlier = this.#customIds.add(customId, line);
    if (earlier === null) return null;
    const message = `The custom_id ${JSON.stringify(customId)} stands on line ${earlier} already.`;
    return { code: 'duplicate_custom_id', message };
  }
}

function isBlank({ bytes }: RawLine): boolean {
  return bytes?.every((byte) => byte === 0x20 || byte === 0x09) ?? false;
}
