// What the demo shows: answers as they come, and how far it is. A bar on a terminal, plain lines elsewhere.

import { styleText } from 'node:util';

/** The parts of a result line that the demo shows. */
export interface DemoResult {
  readonly custom_id: string;
  readonly status: string;
  readonly answer: string | null;
  readonly rag: {
    readonly status: string;
    readonly documents: readonly { readonly id: string; readonly title: string | null }[];
  } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

const BAR_WIDTH = 30;
const MAX_COLUMNS = 100;
const INDENT = '     ';
/** Plain output says how far it is every so many answers. */
const PLAIN_INTERVAL = 10;
/** All that could move a terminal's cursor or recolour it: answers are somebody else's text. */
const CONTROL = /[\p{Cc}\p{Cf}]/gu;

export class DemoScreen {
  readonly #out: NodeJS.WriteStream;
  readonly #isTerminal: boolean;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
    this.#isTerminal = out.isTTY === true;
  }

  say(text: string): void {
    this.#clearBar();
    this.#out.write(`${text}\n`);
  }

  result(question: string, result: DemoResult): void {
    this.say(`\n${this.#style('bold', `${result.custom_id}  ${clean(question)}`)}`);
    if (result.answer === null) {
      this.say(
        this.#style(
          'red',
          this.#wrapped(`failed: ${result.error?.code}: ${clean(result.error?.message ?? '')}`),
        ),
      );
      return;
    }
    this.say(this.#wrapped(clean(result.answer)));
    const sources = [...new Set(result.rag?.documents.map((document) => document.id))];
    const line =
      sources.length > 0
        ? `sources: ${sources.join(', ')}`
        : 'no sources: nothing was found for this question';
    this.say(this.#style('dim', this.#wrapped(clean(line))));
  }

  progress(done: number, total: number, linesPerSecond: number): void {
    const rate = `${linesPerSecond.toFixed(1)} lines/s`;
    if (this.#isTerminal) {
      const filled = Math.round((BAR_WIDTH * done) / total);
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
      this.#out.write(`\r\x1b[K${bar} ${done}/${total}  ${rate}`);
    } else if (done % PLAIN_INTERVAL === 0 || done === total) {
      this.say(`\n[${done}/${total}] ${rate}`);
    }
  }

  #clearBar(): void {
    if (this.#isTerminal) this.#out.write('\r\x1b[K');
  }

  #style(style: 'bold' | 'dim' | 'red', text: string): string {
    return styleText(style, text, { stream: this.#out, validateStream: true });
  }

  #wrapped(text: string): string {
    // A terminal that does not know its size says 0.
    const columns = Math.min(this.#out.columns || MAX_COLUMNS, MAX_COLUMNS) - INDENT.length;
    const lines = [''];
    for (const word of text.split(' ')) {
      const line = lines.at(-1) ?? '';
      if (line !== '' && line.length + 1 + word.length > columns) lines.push(word);
      else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
    }
    return lines.map((line) => `${INDENT}${line}`).join('\n');
  }
}

function clean(text: string): string {
  return text.replace(/\s+/g, ' ').replace(CONTROL, '');
}
