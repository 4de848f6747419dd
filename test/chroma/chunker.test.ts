// Chunks: nothing lost, nothing too long, cut where a reader would cut.

import fc from 'fast-check';
import t from 'tap';
import { chunkDocument } from '../../src/chroma/chunker.ts';
import type { CorpusDocument } from '../../src/domain/corpus.ts';

function documentOf(text: string, source = 'guide.md'): CorpusDocument {
  const hasHeadings = source.endsWith('.md');
  return { id: source, title: 'Guide', source, text, metadata: { lang: 'en' }, hasHeadings, pageStarts: [] };
}

function textsOf(text: string, maxCharacters: number, minCharacters = 0, source = 'guide.md'): string[] {
  const document = documentOf(text, source);
  return [...chunkDocument(document, { maxCharacters, minCharacters })].map((chunk) => chunk.text);
}

const withoutSpace = (text: string) => text.replace(/\s+/g, '');
const sentence = 'The window of an endpoint grows while its tokens per second rise.';

t.test('a document that fits is one chunk, as it is', async (t) => {
  const document = documentOf('# One\n\nShort.\n\n## Two\n\nAlso short.');
  const [chunk, ...more] = chunkDocument(document, { maxCharacters: 200, minCharacters: 40 });
  t.same(chunk, {
    documentId: 'guide.md',
    chunk: 0,
    title: 'Guide',
    source: 'guide.md',
    text: document.text,
    metadata: { lang: 'en' },
  });
  t.same(more, []);
});

t.test('a document without text has no chunk', async (t) => {
  t.same(textsOf(' \n\t\n', 100), []);
});

t.test('chunks are numbered from 0 and carry what the document carries', async (t) => {
  const document = documentOf(`${sentence} `.repeat(20));
  const chunks = [...chunkDocument(document, { maxCharacters: 200, minCharacters: 40 })];
  t.ok(chunks.length > 3);
  t.same(
    chunks.map(({ chunk }) => chunk),
    [...chunks.keys()],
  );
  t.ok(chunks.every(({ documentId, metadata }) => documentId === 'guide.md' && metadata.lang === 'en'));
});

t.test(
  'a Markdown chunk opens with the headings that lead to it, as far as it does not show them',
  async (t) => {
    const text = `# API\n\n${sentence}\n\n## Results\n\n${sentence}\n\n${sentence}\n\n## Errors\n\n${sentence}\n`;
    t.same(textsOf(text, 120), [
      `# API\n\n${sentence}`,
      `API\n## Results\n\n${sentence}`,
      `API > Results\n${sentence}`,
      `API\n## Errors\n\n${sentence}`,
    ]);
  },
);

t.test('the outer headings give way where the path is too long', async (t) => {
  const text = `# ${'Long title '.repeat(5)}\n\n${sentence}\n\n## Inner\n\n${sentence}\n\n${sentence}`;
  t.ok(textsOf(text, 140).includes(`Inner\n${sentence}`));
});

t.test('small sections below one heading become one chunk', async (t) => {
  const text = `# A\n\n## A1\n\nSmall one.\n\n## A2\n\nSmall two.\n\n## A3\n\n${sentence}\n\n${sentence}\n`;
  t.equal(textsOf(text, 100, 60)[0], '# A\n\n## A1\n\nSmall one.\n\n## A2\n\nSmall two.');
});

t.test('what is left of a section does not join a section of another heading', async (t) => {
  const text = `# R\n\n## A\n\n${sentence}\n\nTail.\n\n## B\n\nSmall.`;
  t.same(textsOf(text, 80, 60), [`# R\n\n## A\n\n${sentence}`, 'R > A\nTail.', 'R\n## B\n\nSmall.']);
});

t.test('a heading is never parted from the text below it', async (t) => {
  const text = `${sentence}\n\n${sentence}\n\n## Heading\n\n${sentence}`;
  for (const chunk of textsOf(text, 150)) t.notMatch(chunk, /Heading$/);
});

t.test('a code fence stays whole where it fits, and its # lines are no headings', async (t) => {
  const fence = '```sh\n# install it\nnpm ci\n\n# run it\nnpm start\n```';
  const chunks = textsOf(`# Setup\n\n${sentence}\n\n${fence}\n\n${sentence}`, 120);
  t.ok(chunks.some((chunk) => chunk.includes(fence)));
  t.notOk(chunks.some((chunk) => chunk.includes('Setup > install it')));
});

t.test('plain text has no headings', async (t) => {
  const chunks = textsOf(`# not a heading\n${sentence}\n\n${sentence}`, 90, 0, 'notes.txt');
  t.notOk(chunks.some((chunk) => chunk.startsWith('not a heading\n')));
});

t.test('long paragraphs are cut between sentences, long sentences between words', async (t) => {
  for (const chunk of textsOf(`${sentence} `.repeat(5), 150)) t.match(chunk, /\.$/);
  for (const chunk of textsOf('word '.repeat(100), 33)) t.match(chunk, /^(word ?)+$/);
});

t.test('a chunk of a document with pages says on which page it begins', async (t) => {
  const first = `${sentence}\n\n${sentence}\n\n`;
  const pages = { ...documentOf(`${first}\n\n${sentence}`, 'guide.pdf'), pageStarts: [0, first.length] };
  const chunks = [...chunkDocument(pages, { maxCharacters: 100, minCharacters: 0 })];
  t.same(
    chunks.map(({ source, metadata }) => [source, metadata]),
    [1, 1, 2].map((page) => [`guide.pdf#page=${page}`, { lang: 'en', page }]),
  );
  const [whole] = chunkDocument(pages, { maxCharacters: 1_000, minCharacters: 0 });
  t.equal(whole?.source, 'guide.pdf#page=1');
  const blank = { ...documentOf(sentence, 'guide.pdf'), pageStarts: [0, 0, 0] };
  t.equal([...chunkDocument(blank, { maxCharacters: 1_000, minCharacters: 0 })][0]?.metadata.page, 3);
});

t.test('a paragraph that never ends is cut all the same, without much time or memory', async (t) => {
  const chunks = textsOf('word '.repeat(400_000), 1_500, 300, 'notes.txt');
  t.ok(chunks.length > 1_300);
  t.ok(chunks.every((chunk) => chunk.length <= 1_500));
});

t.test('windows line ends are line ends', async (t) => {
  t.same(textsOf(`# A\r\n\r\n${sentence}\r\n\r\n${sentence}`, 100), [`# A\n\n${sentence}`, `A\n${sentence}`]);
});

const markdown = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '# Top',
        '## Middle',
        '### Deep',
        '```',
        '~~~~',
        '',
        '',
        '    code',
        '- item',
        '#',
        '\t',
      ),
      fc.lorem({ maxCount: 40 }),
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.string({ unit: fc.constantFrom('a', '😀', '語', ' ', '.'), maxLength: 200 }),
    ),
    { maxLength: 40 },
  )
  .map((lines) => lines.join('\n'));
const sizes = fc.record({
  maxCharacters: fc.integer({ min: 16, max: 400 }),
  minCharacters: fc.integer({ min: 0, max: 300 }),
});

t.test('plain text: what is no space stands in the chunks, in its order', async () => {
  const property = fc.property(markdown, sizes, (text, { maxCharacters, minCharacters }) => {
    const chunks = textsOf(text, maxCharacters, minCharacters, 'notes.txt');
    return withoutSpace(chunks.join('')) === withoutSpace(text);
  });
  fc.assert(property);
});

t.test('Markdown: the same, beside the heading paths', async () => {
  const property = fc.property(markdown, sizes, (text, { maxCharacters, minCharacters }) => {
    let rest = withoutSpace(text);
    for (const chunk of textsOf(text, maxCharacters, minCharacters)) {
      // A chunk is either all text, or text below one line with the path.
      const readings = [chunk, chunk.slice(chunk.indexOf('\n') + 1)].map(withoutSpace);
      const reading = readings.find((reading) => rest.startsWith(reading));
      if (reading === undefined) return false;
      rest = rest.slice(reading.length);
    }
    return rest === '';
  });
  fc.assert(property);
});

t.test('no chunk is longer than the maximum, empty, or ends inside a character', async () => {
  const property = fc.property(markdown, sizes, (text, { maxCharacters, minCharacters }) =>
    textsOf(text, maxCharacters, minCharacters).every(
      (chunk) =>
        chunk.length <= maxCharacters && chunk.trim() !== '' && chunk.isWellFormed() === text.isWellFormed(),
    ),
  );
  fc.assert(property);
});
