// HTML to text as the chunker wants it: headings as in Markdown, paragraphs apart, scripts, navigation and what is hidden
// left out. The file is parsed while it is read, so memory grows with the text and the nesting, not with the file.

import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { TextDecoder } from 'node:util';
import { Parser } from 'htmlparser2';
import { charsetCandidates } from './extract-charset.ts';
import { type Extraction, extractedTextMaxCharacters, extractionFailure } from './extraction.ts';
import { HtmlText } from './html-text.ts';

/** Browsers stop nesting at 512; pages that never close their tags go some thousands deep. */
const nestingMax = 20_000;
/** A text of many bytes without any markup would reach the page in one piece. */
const readBytes = 64 * 1024;

class TooDeep extends Error {}
class TooLong extends Error {}

/** Rejects with what reading the file rejects with. */
export async function extractHtml(path: string): Promise<Extraction> {
  const charsets = charsetCandidates(await firstBytes(path));
  for (const [index, charset] of charsets.entries()) {
    const isLast = index === charsets.length - 1;
    const page = await parse(path, new TextDecoder(charset, { fatal: !isLast })).catch(refusal);
    if (page === 'other_charset') continue;
    if ('kind' in page) return page;
    if (page.text.trim() === '') return extractionFailure('no_text', 'It has no text');
    const { text, title } = page;
    return { kind: 'text', title, text, hasHeadings: true, pageStarts: [], missingPages: [] };
  }
  return extractionFailure('damaged', 'It is not text in any known encoding');
}

async function parse(path: string, decoder: TextDecoder): Promise<{ text: string; title: string | null }> {
  const page = new HtmlText();
  let depth = 0;
  const parser = new Parser({
    onopentag: (name, attributes) => {
      depth += 1;
      if (depth > nestingMax) throw new TooDeep();
      page.open(name, attributes);
    },
    onclosetag: (name) => {
      depth -= 1;
      page.close(name);
    },
    ontext: (text) => page.add(text),
  });
  const write = (text: string) => {
    parser.write(text.replaceAll('\0', ''));
    if (page.length > extractedTextMaxCharacters) throw new TooLong();
  };
  for await (const bytes of createReadStream(path, { highWaterMark: readBytes })) {
    write(decoder.decode(bytes, { stream: true }));
  }
  write(decoder.decode());
  parser.end();
  return { text: page.end(), title: page.title };
}

function refusal(error: unknown): Extraction | 'other_charset' {
  if (error instanceof TooDeep)
    return extractionFailure('too_complex', `Its elements are nested more than ${nestingMax} deep`);
  if (error instanceof TooLong)
    return extractionFailure('too_large', `Its text is longer than ${extractedTextMaxCharacters} characters`);
  if (error instanceof TypeError && 'code' in error && error.code === 'ERR_ENCODING_INVALID_ENCODED_DATA')
    return 'other_charset';
  throw error;
}

async function firstBytes(path: string): Promise<Buffer> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(1024), 0, 1024, 0);
  return buffer.subarray(0, bytesRead);
}
