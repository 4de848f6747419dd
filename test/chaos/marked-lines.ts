// The questions that campaigns ask. Each carries a mark that no other question of the campaign has, so that a model
// server can count the calls of a line, and an answer can be traced to its own question.

/** A line of an upload, as the oracle remembers it. */
export interface MarkedLine {
  /** 1-based number in the upload. */
  readonly line: number;
  readonly customId: string;
  readonly mark: string;
  /** false: its input is bad, and it fails without ever being run. */
  readonly isGood: boolean;
  readonly text: string;
}

const SUBJECTS = ['keeper lens', 'ice valleys', 'starter flour', 'makers resin', 'birds stars'];
const MARK = /\[\[([^\]]+)\]\]/g;

export function goodLine(upload: string, line: number): MarkedLine {
  const mark = `${upload}/${line}`;
  const customId = `q${line}`;
  const query = `What about ${SUBJECTS[line % SUBJECTS.length]}? [[${mark}]]`;
  return { line, customId, mark, isGood: true, text: JSON.stringify({ custom_id: customId, query }) };
}

/** The model server refuses these, as long as it is told to. */
export function refusedLine(upload: string, line: number): MarkedLine {
  return goodLine(`${upload}!`, line);
}

export function isRefused(mark: string): boolean {
  return mark.includes('!');
}

/** The same custom_id as another line: only the first of them runs. */
export function duplicateOf(line: number, original: MarkedLine): MarkedLine {
  return { ...original, line, isGood: false };
}

/** Three ways to be bad, in turn. */
export function badLine(upload: string, line: number): MarkedLine {
  const customId = `q${line}`;
  const texts = ['this is not JSON', JSON.stringify({ custom_id: customId }), JSON.stringify([line])];
  return { line, customId, mark: `${upload}/${line}`, isGood: false, text: texts[line % 3] ?? '' };
}

export function goodLines(upload: string, count: number): MarkedLine[] {
  return Array.from({ length: count }, (_unused, index) => goodLine(upload, index + 1));
}

/** The mark of the question in these messages: the last one, whatever the passages hold. */
export function markIn(text: string): string | null {
  return [...text.matchAll(MARK)].at(-1)?.[1] ?? null;
}
