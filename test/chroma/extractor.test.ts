// Files are taken apart in a process of their own, which some of them end.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { deflateSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { Extractor } from '../../src/chroma/extractor.ts';
import { pdf, pdfLines } from '../fakes/pdf-writer.ts';

function setup(t: Test, files: Record<string, string | Buffer>, timeoutMs?: number) {
  const folder = t.testdir();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  const extractor = new Extractor(timeoutMs);
  t.teardown(() => extractor[Symbol.asyncDispose]());
  const extract = (name: string) =>
    extractor.extract({ path: join(folder, name), kind: name.endsWith('.pdf') ? 'pdf' : 'html' });
  return { extract, extractor };
}

/** A page whose content is some kilobytes in the file, and half a gigabyte when it is unpacked, all of it text to show. */
function bomb(): Buffer {
  const content = deflateSync('BT /F1 12 Tf (x) Tj ET\n'.repeat(22_000_000));
  const head = `%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 612 792]>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
4 0 obj<</Filter/FlateDecode/Length ${content.length}>>stream\n`;
  return Buffer.concat([
    Buffer.from(head),
    content,
    Buffer.from('\nendstream endobj\ntrailer<</Root 1 0 R>>\n'),
  ]);
}

t.test('one process takes all files apart, and starts anew after it was disposed of', async (t) => {
  const { extract, extractor } = setup(t, {
    'a.html': '<h1>A</h1>',
    'b.pdf': pdf({ pages: [pdfLines('B')] }),
    'c.pdf': 'no',
  });
  t.match(await extract('a.html'), { kind: 'text', text: '# A' });
  t.match(await extract('b.pdf'), { kind: 'text', text: 'B' });
  t.match(await extract('c.pdf'), { kind: 'failure', reason: 'damaged' });
  t.match(await extract('absent.html'), { kind: 'failure', reason: 'unreadable' });
  await extractor[Symbol.asyncDispose]();
  t.match(await extract('a.html'), { kind: 'text' });
});

t.test('a file that takes too much memory ends the process, and no other file', async (t) => {
  const { extract } = setup(t, { 'bomb.pdf': bomb(), 'a.html': '<p>A' });
  const ending = await extract('bomb.pdf');
  t.equal(ending.kind, 'failure');
  t.match(ending.kind === 'failure' && ending.reason, /^too_(complex|slow)$/);
  t.match(await extract('a.html'), { kind: 'text', text: 'A' });
});

t.test('a file that takes too long is given up, while the event loop goes on', async (t) => {
  const { extract } = setup(t, { 'endless.html': '<p>word '.repeat(8_000_000), 'a.html': '<p>A' }, 700);
  let turns = 0;
  let isOver = false;
  const turning = (async () => {
    for (; !isOver; turns += 1) await nextTurn();
  })();
  t.match(await extract('endless.html'), { kind: 'failure', reason: 'too_slow' });
  isOver = true;
  await turning;
  t.ok(turns > 100, `${turns} turns`);
});
