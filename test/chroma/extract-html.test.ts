// HTML to text with headings: what a reader sees, from pages of any age and any quality.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { extractHtml } from '../../src/chroma/extract-html.ts';
import type { Extraction } from '../../src/chroma/extraction.ts';

function extract(t: Pick<Test, 'testdir'>, page: string | Buffer): Promise<Extraction> {
  const path = join(t.testdir(), 'page.html');
  writeFileSync(path, page);
  return extractHtml(path);
}

async function textOf(t: Test, page: string | Buffer): Promise<string> {
  const extraction = await extract(t, page);
  if (extraction.kind === 'failure') throw new Error(extraction.message);
  return extraction.text;
}

t.test('title, headings, paragraphs, lists and tables', async (t) => {
  const page = `<!doctype html><html><head><title>The
    guide &amp; more</title></head><body><h1>Main <em>part</em></h1><p>First&nbsp;para&shy;graph &eacute; &#8212;<br>
    next line<p>Second <b>bo</b>ld<h2>Lists<br>of things</h2><ul><li>one<li>two</ul>
    <table><tr><th>A<th>B<tr><td>1<td>2</table></body></html>`;
  const text =
    '# Main part\n\nFirst paragraph é —\nnext line\n\nSecond bold\n\n## Lists of things\n\n- one\n- two\n\nA | B\n1 | 2';
  t.same(await extract(t, page), {
    kind: 'text',
    title: 'The guide & more',
    text,
    hasHeadings: true,
    pageStarts: [],
    missingPages: [],
  });
});

t.test('the title is that of the page, else its first heading', async (t) => {
  t.match(await extract(t, '<svg><title>Icon</title></svg><h2>No</h2><h1>Yes</h1>'), { title: 'Yes' });
  t.match(await extract(t, '<title></title><p>Text'), { title: null });
  t.match(await extract(t, '<head><title>T</title><p>Text without a body'), {
    title: 'T',
    text: 'Text without a body',
  });
});

t.test('scripts, styles, navigation and what is hidden are left out', async (t) => {
  const page = `<style>p{}</style><script>document.write("<p>no</p>")</script><nav>Home<ul><li>About</nav><!-- no -->
    <noscript>Turn it on</noscript><template><p>no</template><div hidden>no</div><p style="color:red; DISPLAY : none">no</p>
    <span aria-hidden="true">x</span><div role="navigation">no</div><select><option>no</select><p>Yes</p><svg><text>no</text></svg>`;
  t.equal(await textOf(t, page), 'Yes');
});

t.test('text that looks like markup is escaped, and code is fenced', async (t) => {
  t.equal(
    await textOf(t, '<p># no heading</p><p>``` no fence</p><pre>\n# code\n  deep\n```\n</pre>'),
    '\\# no heading\n\n\\``` no fence\n\n````\n# code\n  deep\n```\n````',
  );
});

t.test('the encoding is found as browsers find it', async (t) => {
  const latin = (head: string) => Buffer.from(`${head}<p>caf\xe9 \x93quoted\x94`, 'latin1');
  t.equal(await textOf(t, latin('<meta charset="iso-8859-1">')), 'café “quoted”');
  t.equal(await textOf(t, latin('')), 'café “quoted”', 'neither declared nor UTF-8');
  t.equal(await textOf(t, latin('<meta charset=utf-8>')), 'café “quoted”', 'declared wrongly');
  t.equal(await textOf(t, '<meta charset=utf-16><p>naïve'), 'naïve');
  t.equal(await textOf(t, '<meta charset=klingon><p>naïve'), 'naïve');
  t.equal(await textOf(t, '\ufeff<p>naïve'), 'naïve');
  t.equal(await textOf(t, Buffer.from('\ufeff<p>naïve', 'utf16le')), 'naïve');
  const sjis = Buffer.concat([
    Buffer.from('<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS"><p>'),
    Buffer.from([0x93, 0x8c, 0x8b, 0x9e]),
  ]);
  t.equal(await textOf(t, sjis), '東京');
});

t.test('broken pages are read as far as they go', async (t) => {
  t.equal(await textOf(t, '<p>one</div></p></b><p>two <b'), 'one\n\ntwo');
  t.equal(await textOf(t, '<h1>Never closed<p>Text<p>more'), '# Never closed\n\nText\n\nmore');
  t.equal(await textOf(t, '<td>cell<td>cell &unknown; &'), 'cell | cell &unknown; &');
});

t.test('a page without text, and one that is nested without end, are told by their kind', async (t) => {
  t.match(await extract(t, '<body><script>1</script><nav>x</nav>'), { reason: 'no_text' });
  t.match(await extract(t, ''), { reason: 'no_text' });
  t.match(await extract(t, '<b>'.repeat(3_000_000)), { reason: 'too_complex' });
  t.match(await extract(t, '<div>x'.repeat(10_000)), { kind: 'text' });
});

t.test('whatever the bytes are, there is one ending', async (t) => {
  const piece = fc.oneof(
    fc.constantFrom(
      '<p>',
      '</p>',
      '<h1>',
      '</h1>',
      '<pre>',
      '</pre>',
      '<li>',
      '<td>',
      '<br>',
      '<nav>',
      '</nav>',
      '&amp;',
    ),
    fc.string({ unit: 'binary', maxLength: 20 }),
  );
  const folder = t.testdir();
  const property = fc.asyncProperty(fc.array(piece, { maxLength: 40 }), async (pieces) => {
    const path = join(folder, 'page.html');
    writeFileSync(path, pieces.join(''));
    const extraction = await extractHtml(path);
    return (
      extraction.kind === 'failure' || (extraction.text.isWellFormed() && !extraction.text.includes('\0'))
    );
  });
  await fc.assert(property, { numRuns: 200 });
});
