// Turns a passage, plain or Markdown, into blocks of readable plain text. An answer may stand in a bullet, a table
// row or a line of code, so each of these is a block of its own, free of markup.

/** A stretch of text that is never joined with its neighbours; `prose` may hold several sentences. */
export interface Block {
  readonly kind: 'heading' | 'prose' | 'item' | 'row' | 'code';
  readonly text: string;
}

/** A lead-in ("Start it:") and what it introduces become one block when they are together at most this long. */
const LEAD_IN_MAX_CHARACTERS = 300;

const FENCE = /^\s{0,3}(?:```|~~~)`*~*\s*(\S?)/;
const HEADING = /^\s{0,3}#{1,6}\s+(.*)$/;
const UNDERLINE = /^\s{0,3}(?:={3,}|-{3,})\s*$/;
const ITEM = /^\s*(?:[-*+•]|\d{1,3}[.)])\s+(.*)$/;
const QUOTE_MARK = /^\s*>\s?/;
const TABLE_ROW = /^\s*\|.*\|\s*$/;
const TABLE_RULE = /^[\s|:-]+$/;

/** Control characters and marks that reorder text on a screen: never part of an answer. */
const UNPRINTABLE = /[\p{Cc}\u200B\u200E\u200F\u202A-\u202E\u2060\u2066-\u2069\uFEFF]/gu;

/** Tags that only shape text. Others are kept: "<name>" is a placeholder more often than HTML. */
const HTML_TAG =
  /<\/?(?:a|b|br|code|div|em|h[1-6]|hr|i|img|kbd|li|ol|p|pre|small|span|strong|sub|sup|ul)(?:\s[^<>]{0,500})?\/?>/gi;

/** One line of readable text: inline Markdown, control characters and doubled spaces taken away. */
export function plainLine(text: string): string {
  return text
    .toWellFormed()
    .replace(UNPRINTABLE, (character) => (/\s/.test(character) ? ' ' : ''))
    .replace(HTML_TAG, ' ')
    .replace(/!?\[([^[\]]{1,300})\]\([^()\s]{0,500}\)/g, '$1')
    .replace(/(\*\*|__)(?=\S)([^*_]{1,500}?)(?<=\S)\1/g, '$2')
    .replace(/(?<![\w*])\*(?=\S)([^*]{1,500}?)(?<=\S)\*(?![\w*])/g, '$1')
    .replace(/(?<!`)`{1,3}([^`]{1,500})`{1,3}/g, '$1')
    .replace(/\s+/g, ' ')
    .trim();
}

function tableCells(line: string): string[] {
  const cells = line
    .trim()
    .slice(1, -1)
    .split(/(?<!\\)\|/);
  return cells.map((cell) => plainLine(cell.replaceAll('\\|', '|')));
}

/** "first: second" for two columns; "first; header: cell; …" for more. */
function readableRow(cells: readonly string[], headers: readonly string[]): string {
  const [first = '', ...others] = cells;
  if (others.length === 1) return `${first}: ${others[0]}`;
  const named = others.map((cell, index) => {
    const header = headers[index + 1] ?? '';
    return header === '' || cell === '' ? cell : `${header}: ${cell}`;
  });
  return [first, ...named].filter((part) => part !== '').join('; ');
}

/** Walks the lines once; the open paragraph or list item grows until a line of another sort ends it. */
class BlockReader {
  readonly #blocks: Block[] = [];
  #open: { kind: 'prose' | 'item'; lines: string[] } | null = null;
  #tableHeaders: string[] | null = null;
  #isInCode = false;

  read(line: string): void {
    const fence = FENCE.exec(line);
    if (fence !== null) {
      this.#close();
      // A fence that names a language can only open, even where the passage began inside a block of code.
      this.#isInCode = fence[1] !== '' || !this.#isInCode;
    } else if (this.#isInCode) {
      this.#push('code', plainLine(line));
    } else if (TABLE_ROW.test(line)) {
      this.#readTableRow(line);
    } else {
      this.#tableHeaders = null;
      this.#readProse(line.replace(QUOTE_MARK, ''));
    }
  }

  finish(): Block[] {
    this.#close();
    return this.#blocks;
  }

  #readTableRow(line: string): void {
    this.#close();
    if (TABLE_RULE.test(line)) {
      // The row before the rule was the header: it names the cells and answers nothing.
      if (this.#blocks.at(-1)?.kind === 'row') this.#blocks.pop();
      return;
    }
    const cells = tableCells(line);
    this.#push('row', readableRow(cells, this.#tableHeaders ?? []));
    this.#tableHeaders ??= cells;
  }

  #readProse(line: string): void {
    const heading = HEADING.exec(line)?.[1];
    const item = ITEM.exec(line)?.[1];
    if (heading !== undefined) {
      this.#close();
      this.#push('heading', plainLine(heading).replace(/ #{1,6}$/, ''));
    } else if (line.trim() === '') {
      this.#close();
    } else if (UNDERLINE.test(line)) {
      const title =
        this.#open?.kind === 'prose' && this.#open.lines.length === 1 ? this.#open.lines[0] : undefined;
      if (title !== undefined) this.#open = null;
      this.#close();
      if (title !== undefined) this.#push('heading', plainLine(title));
    } else if (item !== undefined) {
      this.#close();
      this.#open = { kind: 'item', lines: [item] };
    } else if (this.#open === null) {
      this.#open = { kind: 'prose', lines: [line] };
    } else {
      this.#open.lines.push(line);
    }
  }

  #close(): void {
    if (this.#open !== null) this.#push(this.#open.kind, plainLine(this.#open.lines.join(' ')));
    this.#open = null;
  }

  #push(kind: Block['kind'], text: string): void {
    if (text !== '') this.#blocks.push({ kind, text });
  }
}

/** Joins a lead-in that ends in a colon with the items, rows or code it introduces, where that stays short. */
function joinLeadIns(blocks: readonly Block[]): Block[] {
  const joined: Block[] = [];
  for (let at = 0; at < blocks.length; at += 1) {
    const block = blocks[at];
    if (block === undefined) break;
    const follower = blocks[at + 1]?.kind;
    const isLeadIn = block.kind === 'prose' && block.text.endsWith(':') && follower !== undefined;
    if (!isLeadIn || follower === 'prose' || follower === 'heading') {
      joined.push(block);
      continue;
    }
    let end = at + 1;
    while (blocks[end]?.kind === follower) end += 1;
    const introduced = blocks.slice(at + 1, end).map(({ text }) => text);
    const text = `${block.text} ${introduced.join('; ')}`;
    if (text.length > LEAD_IN_MAX_CHARACTERS) {
      joined.push(block);
    } else {
      joined.push({ kind: 'item', text });
      at = end - 1;
    }
  }
  return joined;
}

/** The blocks of a passage in their order, each readable by itself. */
export function readBlocks(text: string): Block[] {
  const reader = new BlockReader();
  for (const line of text.split(/\r\n|[\n\r\u2028\u2029]/)) reader.read(line);
  return joinLeadIns(reader.finish());
}
