// Questions of about 1 kB each, made while they are sent, so that no file of their size is needed. Their texts differ,
// as real ones do: a store that compresses them must not look better than it is.

import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes of a line, newline included, within a few. */
const LINE_BYTES = 1024;
const LINES_A_PIECE = 64;
const TEXT_CHARACTERS = 1 << 16;
/** Odd, so that consecutive questions begin at places far apart. */
const STRIDE = 7919;

/** The upload's bytes in pieces of whole lines. */
export function* questionPieces(lines: number): Generator<Buffer> {
  const text = wordText();
  for (let first = 1; first <= lines; first += LINES_A_PIECE) {
    const count = Math.min(LINES_A_PIECE, lines - first + 1);
    const piece = Array.from({ length: count }, (_, index) => questionLine(text, first + index));
    yield Buffer.from(piece.join(''));
  }
}

/** So many lines a second, for ever. */
export async function* pacedQuestionPieces(linesPerSecond: number): AsyncGenerator<Buffer> {
  const startedAtMs = performance.now();
  let sent = 0;
  for (const piece of questionPieces(Number.POSITIVE_INFINITY)) {
    const dueMs = startedAtMs + (1000 * sent) / linesPerSecond;
    await sleep(Math.max(0, dueMs - performance.now()));
    yield piece;
    sent += LINES_A_PIECE;
  }
}

function questionLine(text: string, number: number): string {
  const head = `{"custom_id":"question-${number}","query":"`;
  const begin = (number * STRIDE) % (TEXT_CHARACTERS - LINE_BYTES);
  return `${head}${text.slice(begin, begin + LINE_BYTES - head.length - 3)}"}\n`;
}

/** Words from the linear congruence of ANSI C: the same in every run. */
function wordText(): string {
  let state = 7;
  const next = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
  const words = Array.from({ length: 4096 }, () =>
    Array.from({ length: 3 + next(7) }, () => String.fromCharCode(97 + next(26))).join(''),
  );
  let text = '';
  while (text.length < TEXT_CHARACTERS) text += `${words[next(words.length)] ?? ''} `;
  return text;
}
