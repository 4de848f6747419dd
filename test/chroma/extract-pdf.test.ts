// PDF files to text: paragraphs, words and columns as a reader sees them, and what cannot be read by its kind.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { extractPdf } from '../../src/chroma/extract-pdf.ts';
import type { Extraction } from '../../src/chroma/extraction.ts';
import { pageText } from '../../src/chroma/pdf-page.ts';
import { type PdfContent, pdf, pdfLines } from '../fakes/pdf-writer.ts';

function extract(t: Test, content: PdfContent | Buffer): Promise<Extraction> {
  const path = join(t.testdir(), 'file.pdf');
  writeFileSync(path, Buffer.isBuffer(content) ? content : pdf(content));
  return extractPdf(path);
}

async function textOf(t: Test, ...pages: PdfContent['pages']): Promise<string> {
  const extraction = await extract(t, { pages });
  if (extraction.kind === 'failure') throw new Error(extraction.message);
  return extraction.text;
}

t.test('lines, paragraphs and broken words', async (t) => {
  const page = [
    ...pdfLines('The window of an end-', 'point grows (by a half).', 'It is cut by over-', 'Loads.'),
    { text: 'Another paragraph.', x: 72, y: 600 },
    { text: 'A Heading', x: 72, y: 584, size: 20 },
    { text: 'Text.', x: 72, y: 566 },
  ];
  t.equal(
    await textOf(t, page),
    'The window of an endpoint grows (by a half).\nIt is cut by over-\nLoads.\n\nAnother paragraph.\n\nA Heading\n\nText.',
  );
});

t.test('columns are read one after the other, in the order of the file', async (t) => {
  const column = (x: number, ...texts: string[]) => pdfLines(...texts).map((line) => ({ ...line, x }));
  const page = [...column(72, 'left one', 'left two'), ...column(320, 'right one', 'right two')];
  t.equal(await textOf(t, page), 'left one\nleft two\nright one\nright two');
});

t.test('what the file has in the wrong order is read from the top', async (t) => {
  const [title, body, footer] = pdfLines('Title line', 'body line', 'footer line');
  if (!title || !body || !footer) throw new Error('three lines');
  t.equal(await textOf(t, [footer, title, body]), 'Title line\nbody line\nfooter line');
});

t.test('pages: where they begin, and sentences that go on', async (t) => {
  const pages = [pdfLines('It goes'), pdfLines('on here.'), [], pdfLines('The end.')];
  const extraction = await extract(t, { pages, title: 'Manual (final)' });
  t.same(extraction, {
    kind: 'text',
    title: 'Manual (final)',
    text: 'It goes\non here.\n\nThe end.',
    hasHeadings: false,
    pageStarts: [0, 8, 16, 18],
    missingPages: [],
  });
});

t.test('a title that only names the program or the file is none', async (t) => {
  for (const [title, shown] of [
    ['untitled', null],
    ['Microsoft Word - report.docx', null],
    ['Microsoft Word - Yearly report', 'Yearly report'],
    ['', null],
  ] as const) {
    t.match(await extract(t, { pages: [pdfLines('Text')], title }), { title: shown }, title);
  }
});

t.test('what cannot be read is told by its kind', async (t) => {
  t.match(await extract(t, { pages: [pdfLines('Secret')], isEncrypted: true }), { reason: 'encrypted' });
  t.match(await extract(t, { pages: [[], []] }), { reason: 'no_text' });
  const whole = pdf({ pages: [pdfLines('Whole')] });
  t.match(await extract(t, Buffer.from('%PDF-1.7\n')), { reason: 'damaged' });
  t.match(await extract(t, Buffer.from('<html>')), { reason: 'damaged' });
  t.match(await extract(t, Buffer.alloc(0)), { reason: 'damaged' });
  t.match(await extract(t, whole.subarray(0, 60)), { reason: 'damaged' });
  t.match(await extract(t, whole.subarray(0, -20)), { text: 'Whole' }, 'without its end it is mended');
});

t.test('ligatures and control characters', async (t) => {
  const placed = { width: 9, height: 12, transform: [12, 0, 0, 12, 0, 0], hasEOL: false };
  t.equal(pageText([{ ...placed, str: 'e\ufb03cient\0 \u0007of\ufb01ce ½' }]), 'efficient office ½');
});

t.test('whatever places strings have, each is read once', async () => {
  const place = fc.integer({ min: -100, max: 900 });
  const strings = fc.array(
    fc.record({ x: place, y: place, height: fc.integer({ min: 0, max: 40 }), hasEOL: fc.boolean() }),
    { maxLength: 60 },
  );
  const property = fc.property(strings, (places) => {
    const text = pageText(
      places.map(({ x, y, height, hasEOL }, index) => {
        return { str: ` w${index} `, width: 40, height, transform: [height, 0, 0, height, x, y], hasEOL };
      }),
    );
    const found = (text.match(/w\d+/g) ?? []).map((word) => Number(word.slice(1)));
    return found.length === places.length && new Set(found).size === places.length;
  });
  fc.assert(property);
});
