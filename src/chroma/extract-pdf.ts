// PDF to text, page by page. What cannot be read is told by its kind: a password, damage, pages without text.

import { readFile } from 'node:fs/promises';
import { getDocumentProxy } from 'unpdf';
import { type Extraction, extractedTextMaxCharacters, extractionFailure } from './extraction.ts';
import { type PlacedString, pageText } from './pdf-page.ts';

type PdfDocument = Awaited<ReturnType<typeof getDocumentProxy>>;

const errorsOnly = 0;
const titleMaxCharacters = 300;
/** Programs that write PDFs put these before the name of the file, or in place of a title. */
const noTitle = /^(?:untitled|title|document\d*|unknown|.*\.(?:docx?|pptx?|xlsx?|odt|indd|dvi|tex|qxd))$/i;
const programPrefix = /^Microsoft (?:Word|PowerPoint|Excel) - /;

/** Rejects with what reading the file rejects with. */
export async function extractPdf(path: string): Promise<Extraction> {
  const bytes = await readFile(path);
  // pdf.js takes the bytes over, and a pooled buffer cannot be handed over.
  const data = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const document = await getDocumentProxy(data, {
      verbosity: errorsOnly,
      useSystemFonts: false,
      stopAtErrors: false,
    });
    return await textOf(document);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if (error.name === 'PasswordException') return extractionFailure('encrypted', 'It needs a password');
    return extractionFailure('damaged', `It is no PDF that can be understood: ${error.message}`);
  }
}

async function textOf(document: PdfDocument): Promise<Extraction> {
  const pageStarts: number[] = [];
  const missingPages: number[] = [];
  let text = '';
  for (let number = 1; number <= document.numPages; number++) {
    const shown = await textOfPage(document, number);
    if (shown === null) missingPages.push(number);
    if (text !== '' && shown) text += goesOn(text, shown) ? '\n' : '\n\n';
    pageStarts.push(text.length);
    text += shown ?? '';
    if (text.length > extractedTextMaxCharacters)
      return extractionFailure(
        'too_large',
        `Its text is longer than ${extractedTextMaxCharacters} characters`,
      );
  }
  if (text === '' && missingPages.length > 0)
    return extractionFailure('damaged', 'None of its pages can be understood');
  if (text === '') return extractionFailure('no_text', 'Its pages are pictures: it has no text');
  const title = await titleOf(document);
  return { kind: 'text', title, text, hasHeadings: false, pageStarts, missingPages };
}

/** Null where the page cannot be understood. */
async function textOfPage(document: PdfDocument, number: number): Promise<string | null> {
  try {
    const page = await document.getPage(number);
    const { items } = await page.getTextContent();
    page.cleanup();
    return pageText(items.filter((item): item is typeof item & PlacedString => 'str' in item));
  } catch {
    return null;
  }
}

/** Whether a sentence is continued on the next page. */
function goesOn(text: string, next: string): boolean {
  return /[\p{L},]$/u.test(text) && /^\p{Ll}/u.test(next);
}

async function titleOf(document: PdfDocument): Promise<string | null> {
  const metadata = await document.getMetadata().catch(() => null);
  const info: { readonly Title?: unknown } = metadata?.info ?? {};
  if (typeof info.Title !== 'string') return null;
  const title = info.Title.replace(programPrefix, '')
    .replace(/[\s\0]+/g, ' ')
    .trim();
  return title === '' || noTitle.test(title) ? null : title.slice(0, titleMaxCharacters).toWellFormed();
}
