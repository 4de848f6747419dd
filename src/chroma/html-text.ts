// The text of a page, put together from its tags and texts in their order.
//
// 1. Space counts as browsers show it: runs are one, and blocks stand apart; inside of <pre> it is kept.
// 2. A heading becomes a line with as many # as its level, a list item begins with a dash, the cells of a table row
//    stand on one line. Text that merely looks like a heading or a code fence is escaped with a backslash.
// 3. What a reader of the page would not see, or sees on every page of a site, is left out.

/** Their content is no text of the page. */
const leftOutElements = new Set(
  'script style noscript template nav svg math canvas iframe object embed audio video title select datalist textarea button dialog'.split(
    ' ',
  ),
);
const blocks = new Set(
  `address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form
  header hgroup hr html legend li main menu ol p pre section summary table tbody tfoot thead tr ul`.split(
    /\s+/,
  ),
);
/** Between these there is a line end, and no blank line. */
const lines = new Set(['li', 'tr', 'dt', 'dd', 'summary', 'caption']);
const headings = new Map(['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((name, index) => [name, index + 1]));
const looksLikeMarkup = /^(#{1,6}(?=[ \t])|`{3,}|~{3,})/;
/** Where a word may be broken: zero-width spaces and soft hyphens. */
const invisible = /[\u200b\u00ad]/g;
const titleMaxCharacters = 300;

export class HtmlText {
  readonly #parts: string[] = [];
  #length = 0;
  /** The block being put together. */
  #block = '';
  #endsInSpace = true;
  #prefix = '';
  /** Whether a blank line, or only a line end, stands before the next block. */
  #gap: '' | '\n' | '\n\n' = '';
  /** Open elements within the one that is left out, itself included. */
  #leftOut = 0;
  #preformatted = 0;
  #title: string | null = null;
  #firstHeading: string | null = null;
  #isInTitle = false;
  #heading = 0;

  /** So far, in UTF-16 code units. */
  get length(): number {
    return this.#length + this.#block.length;
  }

  /** Of the page, else its first heading of the first level. */
  get title(): string | null {
    const title = (this.#title ?? '').replace(/\s+/g, ' ').trim() || this.#firstHeading;
    return title === null || title === '' ? null : title.slice(0, titleMaxCharacters).toWellFormed();
  }

  open(name: string, attributes: Readonly<Record<string, string>>): void {
    if (this.#leftOut > 0 || leftOutElements.has(name) || isHidden(attributes)) {
      // A picture may have a title of its own, within what is left out.
      if (name === 'title' && this.#leftOut === 0) this.#isInTitle = this.#title === null;
      this.#leftOut += 1;
      return;
    }
    const level = headings.get(name);
    if (level !== undefined) this.#startHeading(level);
    else if (name === 'br') this.#breakLine();
    else if (name === 'td' || name === 'th') this.#startCell();
    else if (blocks.has(name)) this.#startBlock(name);
  }

  close(name: string): void {
    if (this.#leftOut > 0) {
      this.#leftOut -= 1;
      this.#isInTitle = false;
      return;
    }
    if (headings.has(name)) this.#endHeading();
    else if (blocks.has(name)) this.#endBlock(lines.has(name) ? '\n' : '\n\n');
    if (name === 'pre') this.#preformatted = Math.max(0, this.#preformatted - 1);
  }

  add(text: string): void {
    if (this.#isInTitle) this.#title = `${this.#title ?? ''}${text}`.slice(0, 4 * titleMaxCharacters);
    if (this.#leftOut > 0) return;
    if (this.#preformatted > 0) {
      this.#block += text;
      return;
    }
    const spaced = text.replace(invisible, '').replace(/\s+/g, ' ');
    const shown = this.#endsInSpace ? spaced.trimStart() : spaced;
    if (shown === '') return;
    this.#block += shown;
    this.#endsInSpace = shown.endsWith(' ');
  }

  /** The whole text. Ends the page. */
  end(): string {
    this.#endBlock('');
    return this.#parts.join('').toWellFormed();
  }

  #startHeading(level: number): void {
    this.#endBlock('\n\n');
    this.#heading = level;
  }

  #startBlock(name: string): void {
    // Text goes on below a heading that was never closed.
    if (this.#block.trim() !== '' && this.#heading > 0) this.#endHeading();
    this.#endBlock(lines.has(name) ? '\n' : '\n\n');
    if (name === 'li') this.#prefix = '- ';
    if (name === 'pre') this.#preformatted += 1;
  }

  #endHeading(): void {
    this.#endBlock('\n\n');
    this.#heading = 0;
  }

  #startCell(): void {
    if (this.#block.trim() === '') return;
    this.#block = `${this.#block.trimEnd()} | `;
    this.#endsInSpace = true;
  }

  #breakLine(): void {
    if (this.#preformatted > 0) this.#block += '\n';
    else if (this.#heading > 0) this.add(' ');
    // Two of them part paragraphs, as old pages have it.
    else this.#endBlock(this.#block.trim() === '' && this.#gap !== '' ? '\n\n' : '\n');
  }

  #endBlock(gap: '' | '\n' | '\n\n'): void {
    const shown = this.#shown();
    this.#block = '';
    this.#endsInSpace = true;
    if (shown !== '') {
      const part = `${this.#length === 0 ? '' : this.#gap || '\n'}${shown}`;
      this.#parts.push(part);
      this.#length += part.length;
      this.#prefix = '';
      this.#gap = gap;
    } else if (gap.length > this.#gap.length) this.#gap = gap;
  }

  #shown(): string {
    if (this.#preformatted > 0 && this.#block.trim() !== '') return fenced(this.#block);
    const text = this.#block.trim();
    if (text === '') return '';
    if (this.#heading === 0) return `${this.#prefix}${text.replace(looksLikeMarkup, '\\$1')}`;
    if (this.#heading === 1) this.#firstHeading ??= text;
    return `${'#'.repeat(this.#heading)} ${text}`;
  }
}

function isHidden(attributes: Readonly<Record<string, string>>): boolean {
  const { hidden, role, style } = attributes;
  if (hidden !== undefined && hidden !== 'until-found') return true;
  if (attributes['aria-hidden'] === 'true' || role === 'navigation') return true;
  return style !== undefined && /(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)/i.test(style);
}

/** As a code fence that its content cannot close. */
function fenced(text: string): string {
  const body = text.replace(/^\r?\n/, '').trimEnd();
  const longest = (body.match(/`{3,}/g) ?? []).reduce((most, run) => Math.max(most, run.length), 2);
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${body}\n${fence}`;
}
