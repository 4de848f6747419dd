// Markdown as the chunker sees it: headings and code fences, nothing else. Text is only cut, never changed:
// the sections' texts, put together, are the document.

export interface MarkdownSection {
  /** Headings above this section's own, outermost first. */
  readonly ancestors: readonly string[];
  /** Null for what stands before the first heading. */
  readonly heading: string | null;
  /** With its heading line. */
  readonly text: string;
}

const headingLine = /^ {0,3}(#{1,6})[ \t]+(\S.*?)(?:[ \t]+#+)?$/;
/** A longer line is text that begins with a `#`. */
const headingMaxCharacters = 300;
const fenceLine = /^ {0,3}(`{3,}|~{3,})(.*)$/;

/** Follows code fences line by line: a `#` inside of one is no heading, a blank line no end of a paragraph. */
export class FenceTracker {
  #opening: string | null = null;

  /** Whether the line belongs to a fence, its first and last line included. */
  takes(line: string): boolean {
    const fence = fenceLine.exec(line);
    const marks = fence?.[1] ?? '';
    const rest = fence?.[2] ?? '';
    if (this.#opening === null) {
      const opens = marks !== '' && !(marks.startsWith('`') && rest.includes('`'));
      if (opens) this.#opening = marks;
      return opens;
    }
    if (marks.startsWith(this.#opening) && rest.trim() === '') this.#opening = null;
    return true;
  }
}

/** Cuts at every heading (`#` to `######`). */
export function* markdownSections(text: string): Generator<MarkdownSection> {
  const path: { level: number; heading: string }[] = [];
  let open: { ancestors: string[]; heading: string | null } = { ancestors: [], heading: null };
  let lines: string[] = [];
  for (const { line, level, heading } of headedLines(text)) {
    if (level > 0) {
      if (lines.length > 0) yield { ...open, text: lines.join('') };
      lines = [];
      while ((path.at(-1)?.level ?? 0) >= level) path.pop();
      open = { ancestors: path.map((above) => above.heading), heading };
      path.push({ level, heading });
    }
    lines.push(line);
  }
  if (lines.length > 0) yield { ...open, text: lines.join('') };
}

/** The first heading of the first level, or null. */
export function markdownTitle(text: string): string | null {
  for (const { level, heading } of headedLines(text)) if (level === 1) return heading;
  return null;
}

/** Every line with its line end; level 0 where it is no heading. */
function* headedLines(text: string): Generator<{ line: string; level: number; heading: string }> {
  const fences = new FenceTracker();
  for (const line of linesOf(text)) {
    const shown = line.trimEnd();
    const isText = fences.takes(shown) || shown.length > headingMaxCharacters;
    const match = isText ? null : headingLine.exec(shown);
    yield { line, level: match?.[1]?.length ?? 0, heading: match?.[2] ?? '' };
  }
}

/** The lines of a text, each with its line end. */
export function* linesOf(text: string): Generator<string> {
  let start = 0;
  while (start < text.length) {
    const lineFeed = text.indexOf('\n', start);
    const end = lineFeed < 0 ? text.length : lineFeed + 1;
    yield text.slice(start, end);
    start = end;
  }
}
