// A page of a PDF as text. A PDF has no lines, words or paragraphs, only strings with a place; what belongs together
// follows from places and sizes.
//
// 1. The order of the file is kept, because it knows columns, as long as no part of it stands above what came before it in
//    the same column; then the parts are put in order.
// 2. Lines that stand farther apart than lines do are paragraphs; a word broken at a line's end is put together again.

/** A string as pdf.js gives it, in points from the lower left corner. */
export interface PlacedString {
  readonly str: string;
  readonly width: number;
  readonly height: number;
  /** The last two numbers are x and y of its baseline. */
  readonly transform: readonly number[];
  /** The file moves on to another line after it. */
  readonly hasEOL: boolean;
}

interface Line {
  readonly text: string;
  readonly left: number;
  readonly right: number;
  readonly y: number;
  readonly height: number;
}

/** Parts of which lines are ordered by place; a page with more of them is no prose, and is kept as it is. */
const partsMax = 500;
/** Baselines this many heights apart are of two paragraphs: ordinary lines stand 1.0 to 1.5 apart. */
const paragraphGap = 1.75;
/** A line in letters this much larger or smaller is of another paragraph. */
const sizeChange = 1.2;
const ligatures = /[\ufb00-\ufb06]/g;
const controls = /[\p{Cc}\ufffe\uffff]/gu;
const brokenWord = /(\p{L})[-\u2010]\n(?=\p{Ll})/gu;
const softHyphen = /\u00ad\n?/g;

export function pageText(strings: readonly PlacedString[]): string {
  let text = '';
  let above: Line | null = null;
  for (const line of inReadingOrder(linesOf(strings))) {
    if (above !== null) text += isOneParagraph(above, line) ? '\n' : '\n\n';
    text += line.text;
    above = line;
  }
  return text.replace(softHyphen, '').replace(brokenWord, '$1');
}

function linesOf(strings: readonly PlacedString[]): Line[] {
  const lines: Line[] = [];
  let open: PlacedString[] = [];
  const close = () => {
    const line = lineOf(open);
    if (line !== null) lines.push(line);
    open = [];
  };
  for (const string of strings) {
    const last = open.at(-1);
    if (last !== undefined && !isOnLine(last, string)) close();
    if (string.str !== '') open.push(string);
    if (string.hasEOL) close();
  }
  close();
  return lines;
}

function isOnLine(left: PlacedString, right: PlacedString): boolean {
  const height = Math.max(left.height, right.height, 1);
  return Math.abs(yOf(left) - yOf(right)) < 0.7 * height || right.str.trim() === '';
}

function lineOf(strings: readonly PlacedString[]): Line | null {
  const shown = strings.filter(({ str }) => str.trim() !== '');
  const text = strings.map(({ str }) => str).join('');
  const clean = text.replace(/\s+/g, ' ').replace(controls, '').trim();
  const [first] = shown;
  if (first === undefined || clean === '') return null;
  const heights = shown.map(({ height }) => height);
  return {
    text: clean.replace(ligatures, (ligature) => ligature.normalize('NFKC')).toWellFormed(),
    left: Math.min(...shown.map(xOf)),
    right: Math.max(...shown.map((string) => xOf(string) + string.width)),
    y: yOf(first),
    height: Math.max(...heights, 1),
  };
}

function isOneParagraph(above: Line, below: Line): boolean {
  const larger = Math.max(above.height, below.height);
  if (larger > sizeChange * Math.min(above.height, below.height)) return false;
  // It goes on at the head of the next column.
  if (below.y > above.y) return !overlaps(above, below);
  return above.y - below.y < paragraphGap * larger;
}

function inReadingOrder(lines: readonly Line[]): readonly Line[] {
  const parts: Line[][] = [];
  for (const line of lines) {
    const above = parts.at(-1)?.at(-1);
    if (above !== undefined && follows(above, line)) parts.at(-1)?.push(line);
    else parts.push([line]);
  }
  if (parts.length === 1 || parts.length > partsMax) return lines;
  const ordered: Line[][] = [];
  for (const part of parts) {
    const at = ordered.findIndex((other) => comesBefore(part, other));
    ordered.splice(at < 0 ? ordered.length : at, 0, part);
  }
  return ordered.flat();
}

/** Below the line before, or on the right of it: a line above it in the same column begins another part. */
function follows(above: Line, line: Line): boolean {
  return line.y <= above.y + 0.5 * above.height;
}

/** Whether a part that the file has later is to be read earlier: it stands in the same column, and wholly above. */
function comesBefore(part: readonly Line[], other: readonly Line[]): boolean {
  const lowest = Math.min(...part.map(({ y }) => y));
  const highest = Math.max(...other.map(({ y }) => y));
  return lowest > highest && part.some((line) => other.some((beside) => overlaps(line, beside)));
}

function overlaps(one: Line, other: Line): boolean {
  return one.left < other.right && other.left < one.right;
}

function xOf(string: PlacedString): number {
  return string.transform[4] ?? 0;
}

function yOf(string: PlacedString): number {
  return string.transform[5] ?? 0;
}
