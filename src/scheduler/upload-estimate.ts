// A dry run: reads an upload as intake would, stores nothing, and says what it would cost.
//
// Tokens are estimated, not counted: four bytes of UTF-8 are taken for one. Passages count at the full size of a
// chunk of the corpus, so that the prompt tokens are rather too many than too few.

import type { BatchOptions } from '../domain/options.ts';
import type { LineProblem } from '../errors.ts';
import { LineIntake, type UploadLimits } from './line-intake.ts';
import { BadLine, type ParsedLine, parseUploaded } from './line-parser.ts';
import { askedBytes } from './line-prompt.ts';

export interface EstimateBasis {
  /** The system prompt of lines that have none. */
  readonly defaultSystemPrompt: string;
  /** Most characters of a passage. */
  readonly passageCharacters: number;
  /** Lines that the service finished per second of late; null: nothing to go by. */
  readonly linesPerSecond: number | null;
}

export interface DryRunSettings extends EstimateBasis {
  readonly limits: UploadLimits;
  readonly defaults: BatchOptions;
}

export interface UploadEstimate {
  readonly wouldBeAccepted: boolean;
  readonly lines: { readonly total: number; readonly valid: number; readonly invalid: number };
  readonly problems: readonly LineProblem[];
  readonly promptTokens: number;
  readonly maxCompletionTokens: number;
  readonly seconds: number | null;
}

const BYTES_PER_TOKEN = 4;

/**
 * Sums over the lines, kept apart by what they leave to the batch: the batch's own options may stand in a form
 * behind the file, and are known at the end only.
 */
class Sums {
  questionBytes = 0;
  systemPromptBytes = 0;
  linesWithoutSystemPrompt = 0;
  templateBytes = 0;
  linesWithoutTemplate = 0;
  completionTokens = 0;
  linesWithoutMaxTokens = 0;
  /** By whether retrieval is asked for by the line itself, or left to the batch. */
  readonly passages = { own: 0, batch: 0 };
  readonly linesWithoutTopK = { own: 0, batch: 0 };
}

export class UploadDryRun {
  readonly #settings: DryRunSettings;
  readonly #intake: LineIntake;
  readonly #sums = new Sums();
  #parsed: ParsedLine | null = null;

  constructor(settings: DryRunSettings) {
    this.#settings = settings;
    this.#intake = new LineIntake({
      limits: settings.limits,
      check: (bytes) => this.#check(bytes),
      isHashed: false,
    });
  }

  async receive(source: AsyncIterable<Buffer>): Promise<void> {
    await this.#intake.read(source, (_number, _bytes, problem) => {
      if (problem === null && this.#parsed) this.#add(this.#parsed);
      return undefined;
    });
  }

  estimate(options: BatchOptions): UploadEstimate {
    const { lines: total, badLines: invalid, problems } = this.#intake;
    const valid = total - invalid;
    const { linesPerSecond } = this.#settings;
    return {
      wouldBeAccepted: this.#intake.refusal(options.onInvalid) === null,
      lines: { total, valid, invalid },
      problems,
      promptTokens: Math.ceil(this.#promptBytes(options) / BYTES_PER_TOKEN),
      maxCompletionTokens: this.#sums.completionTokens + this.#sums.linesWithoutMaxTokens * options.maxTokens,
      seconds: linesPerSecond === null ? null : Math.ceil(valid / linesPerSecond),
    };
  }

  #check(bytes: Buffer): string | BadLine {
    const line = parseUploaded(bytes, this.#settings.defaults);
    if (line instanceof BadLine) return line;
    this.#parsed = line;
    return line.customId;
  }

  #add({ request, own }: ParsedLine): void {
    const sums = this.#sums;
    sums.questionBytes += askedBytes(request);
    if (request.shape === 'openai') {
      this.#addCompletion(request.body.max_completion_tokens ?? request.body.max_tokens);
    } else {
      this.#addCompletion(own.max_tokens);
      // An OpenAI line brings its own system message, among the others.
      if (own.system_prompt === undefined) sums.linesWithoutSystemPrompt += 1;
      else sums.systemPromptBytes += Buffer.byteLength(own.system_prompt);
      if (own.template === undefined) sums.linesWithoutTemplate += 1;
      else sums.templateBytes += Buffer.byteLength(own.template);
    }
    if (own.rag_mode === 'off') return;
    const asks = own.rag_mode === undefined ? 'batch' : 'own';
    if (own.top_k === undefined) sums.linesWithoutTopK[asks] += 1;
    else sums.passages[asks] += own.top_k;
  }

  #addCompletion(maxTokens: unknown): void {
    if (typeof maxTokens === 'number' && maxTokens >= 0) this.#sums.completionTokens += maxTokens;
    else this.#sums.linesWithoutMaxTokens += 1;
  }

  #promptBytes(options: BatchOptions): number {
    const sums = this.#sums;
    const systemPrompt = options.systemPrompt ?? this.#settings.defaultSystemPrompt;
    const asking = options.ragMode === 'off' ? (['own'] as const) : (['own', 'batch'] as const);
    const passages = asking.reduce(
      (sum, asks) => sum + sums.passages[asks] + sums.linesWithoutTopK[asks] * options.topK,
      0,
    );
    return (
      sums.questionBytes +
      sums.systemPromptBytes +
      sums.linesWithoutSystemPrompt * Buffer.byteLength(systemPrompt) +
      sums.templateBytes +
      sums.linesWithoutTemplate * Buffer.byteLength(options.template ?? '') +
      passages * this.#settings.passageCharacters
    );
  }
}
