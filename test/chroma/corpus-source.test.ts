// A corpus as the bootstrap reads it: twice the same, in pieces that leave the event loop its turns, with a report.

import { appendFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { openCorpus } from '../../src/chroma/corpus-source.ts';
import { corpusFolder } from '../fakes/corpus-folder.ts';
import { pdf, pdfLines } from '../fakes/pdf-writer.ts';
import { recordingLog } from '../fakes/recording-log.ts';

function setup(t: Test, files: Record<string, string | Buffer>) {
  const folder = corpusFolder(t, files);
  const { log, lines } = recordingLog();
  const corpus = openCorpus({ path: folder, chunkCharacters: 200, log });
  return { folder, corpus, lines, read: () => Array.fromAsync(corpus.chunks()) };
}

const sentence = 'The window of an endpoint grows while its tokens per second rise.';

t.test('two readings give the same chunks in the same order, and one warning', async (t) => {
  const { read, lines, corpus } = setup(t, {
    'a.html': `<h1>A</h1>${`<p>${sentence}`.repeat(9)}`,
    'b.pdf': pdf({ pages: [pdfLines(sentence, sentence, sentence), pdfLines(sentence)] }),
    'c.md': `# C\n\n${`${sentence}\n\n`.repeat(9)}`,
    'd.pdf': 'no',
    'e.docx': 'no',
  });
  t.equal(corpus.report, null, 'nothing was read yet');
  const first = await read();
  t.same(await read(), first);
  t.same([...new Set(first.map(({ documentId }) => documentId))], ['a.html', 'b.pdf', 'c.md']);
  t.ok(
    first.some(({ text }) => text.startsWith(`A\n${sentence}`)),
    'HTML has its headings',
  );
  t.same([...new Set(first.map(({ metadata }) => metadata.page ?? null))], [null, 1, 2]);
  t.equal(lines.length, 1);
  t.match(corpus.report, {
    documents: 3,
    chunks: first.length,
    skipped: { damaged: 1 },
    unsupported: { '.docx': 1 },
    problems: [{ file: 'd.pdf', line: null, reason: 'damaged' }],
  });
});

t.test('the report is that of the last reading, and what was mended is read', async (t) => {
  const { read, corpus, folder, lines } = setup(t, { 'a.md': 'Text', 'b.pdf': 'no' });
  await read();
  t.match(corpus.report, { documents: 1, skipped: { damaged: 1 } });
  rmSync(join(folder, 'b.pdf'));
  writeFileSync(join(folder, 'b.pdf'), pdf({ pages: [pdfLines('Mended')] }));
  await read();
  t.match(corpus.report, { documents: 2, skipped: {}, problems: [] });
  t.equal(lines.length, 1);
  appendFileSync(join(folder, 'c.jsonl'), '{}\n');
  await read();
  t.match(corpus.report, { documents: 2, skipped: { bad_line: 1 } });
  t.equal(lines.length, 2, 'something else was passed over');
});

t.test('a large file leaves the event loop its turns', async (t) => {
  const { read } = setup(t, { 'a.txt': `${sentence}\n\n`.repeat(60_000) });
  let turns = 0;
  let isOver = false;
  const turning = (async () => {
    for (; !isOver; turns += 1) await nextTurn();
  })();
  const chunks = (await read()).length;
  isOver = true;
  await turning;
  t.ok(chunks >= 20_000);
  t.ok(turns >= 20, `${turns} turns of others while it was read`);
});
