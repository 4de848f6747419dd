// Reading a corpus: the same documents every time, and whatever is passed over is said.

import { appendFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { linesOfFile } from '../../src/chroma/corpus-lines.ts';
import { readCorpus } from '../../src/chroma/corpus-reader.ts';
import { CorpusReport } from '../../src/chroma/corpus-report.ts';
import { corpusFolder } from '../fakes/corpus-folder.ts';
import { pdf, pdfLines } from '../fakes/pdf-writer.ts';

function setup(t: Test, files: Record<string, string | Buffer>) {
  const folder = corpusFolder(t, files);
  const report = new CorpusReport();
  const read = (path = folder) => Array.fromAsync(readCorpus(path, { report }));
  return { folder, report, read };
}

const lines = (...objects: unknown[]) => objects.map((line) => `${JSON.stringify(line)}\n`).join('');

t.test('a folder: recursive, sorted, with titles from headings or file names', async (t) => {
  const { read, report } = setup(t, {
    'b.md': 'Intro\n\n```\n# no heading\n```\n# The B\n\nText',
    'a/z.txt': '# Plain',
    'a/B.TXT': 'Upper',
    'c.jsonl': lines({ id: 'x', text: 'From a line' }),
  });
  const documents = await read();
  t.same(
    documents.map(({ id, title, source }) => [id, title, source]),
    [
      ['a/B.TXT', 'B.TXT', 'a/B.TXT'],
      ['a/z.txt', 'z.txt', 'a/z.txt'],
      ['b.md', 'The B', 'b.md'],
      ['x', null, 'c.jsonl'],
    ],
  );
  t.equal(documents[1]?.text, '# Plain');
  t.equal(report.documents, 4);
  t.equal(report.describeSkipped(), '');
});

t.test('hidden entries and node_modules are passed over in silence, other kinds are counted', async (t) => {
  const { read, report } = setup(t, {
    '.git/a.md': 'no',
    '.hidden.md': 'no',
    'node_modules/p/README.md': 'no',
    'one.docx': 'no',
    'two.DOCX': 'no',
    LICENSE: 'no',
    'yes.md': 'yes',
  });
  t.same(
    (await read()).map(({ id }) => id),
    ['yes.md'],
  );
  t.same(
    [...report.unsupportedFiles],
    [
      ['LICENSE', 1],
      ['.docx', 2],
    ],
  );
  t.match(report.describeSkipped(), /1 × LICENSE, 2 × \.docx/);
});

t.test('files that are no text, empty or cannot be opened are reported, the others are read', async (t) => {
  const { folder, read, report } = setup(t, {
    'bad.md': Buffer.from([0x61, 0xff, 0xfe]),
    'binary.txt': 'a\0b',
    'blank.md': ' \n\n',
    'good.md': '\ufeffGood',
  });
  symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling.md'));
  const documents = await read();
  t.same(
    documents.map(({ id, text }) => [id, text]),
    [['good.md', 'Good']],
  );
  t.same(
    report.problems.map(({ file, line, reason }) => [file, line, reason]),
    [
      ['bad.md', null, 'not_text'],
      ['binary.txt', null, 'not_text'],
      ['blank.md', null, 'empty'],
      ['dangling.md', null, 'unreadable'],
    ],
  );
});

t.test('links are followed and loops end', async (t) => {
  const { folder, read } = setup(t, { 'a/text.md': 'Text' });
  symlinkSync(folder, join(folder, 'a', 'loop'));
  symlinkSync(join(folder, 'a', 'text.md'), join(folder, 'link.md'));
  t.same(
    (await read()).map(({ id }) => id),
    ['a/text.md', 'link.md'],
  );
});

t.test('JSONL: all fields, whole numbers as ids, null as absent', async (t) => {
  const { folder, read, report } = setup(t, {
    'c.jsonl': lines(
      {
        id: 'a',
        text: 'A',
        title: 'T',
        source: 'https://example.org/a',
        metadata: { year: 2026, open: true, tag: 'x' },
      },
      { id: 7, text: 'Seven', title: null, metadata: { gone: null } },
    ),
  });
  t.same(await read(join(folder, 'c.jsonl')), [
    {
      id: 'a',
      text: 'A',
      title: 'T',
      source: 'https://example.org/a',
      metadata: { year: 2026, open: true, tag: 'x' },
      hasHeadings: false,
      pageStarts: [],
    },
    {
      id: '7',
      text: 'Seven',
      title: null,
      source: 'c.jsonl',
      metadata: {},
      hasHeadings: false,
      pageStarts: [],
    },
  ]);
  t.same(report.problems, []);
});

t.test('a bad line is reported with its number and spoils no other', async (t) => {
  const { folder, read, report } = setup(t, {
    'c.jsonl': `\ufeff${lines({ id: 'first', text: 'A' })}\r\n{"id":\n[]\n${lines(
      { text: 'no id' },
      { id: 'x' },
      { id: 'x', text: '  ' },
      { id: 'x', text: 'A', title: 1 },
      { id: 'x', text: 'A', source: {} },
      { id: 'x', text: 'A', metadata: { list: [] } },
      { id: 'x', text: 'A', metadata: [] },
    )}`,
  });
  const path = join(folder, 'c.jsonl');
  appendFileSync(
    path,
    Buffer.concat([Buffer.from('{"id":"u","text":"'), Buffer.from([0xff]), Buffer.from('"}\n')]),
  );
  appendFileSync(path, '{"id":"last","text":"without a line end"}');
  t.same(
    (await read(path)).map(({ id }) => id),
    ['first', 'last'],
  );
  t.same(
    report.problems.map(({ line, reason }) => [line, reason]),
    [...[3, 4, 5, 6, 7, 8, 9, 10, 11].map((line) => [line, 'bad_line']), [12, 'not_text']],
  );
  t.match(
    report.describeSkipped(),
    /skipped: 9 × bad_line, 1 × not_text; first: c\.jsonl, line 3: It is not JSON/,
  );
});

t.test('the first document keeps an id, across files', async (t) => {
  const { read, report } = setup(t, {
    'a.jsonl': lines({ id: 'x', text: 'First' }, { id: 'b.md', text: 'Line' }),
    'b.md': 'File',
    'c.jsonl': lines({ id: 'x', text: 'Second' }),
  });
  t.same(
    (await read()).map(({ text }) => text),
    ['First', 'Line'],
  );
  t.same(
    report.problems.map(({ file, line, reason }) => [file, line, reason]),
    [
      ['b.md', null, 'duplicate_id'],
      ['c.jsonl', 1, 'duplicate_id'],
    ],
  );
});

t.test('problems are all counted, and a bounded number is kept', async (t) => {
  const { read, report } = setup(t, { 'c.jsonl': `${'{}\n'.repeat(5_000)}{"id":"x","text":"A"}` });
  await read();
  t.equal(report.problemCounts.get('bad_line'), 5_000);
  t.equal(report.problems.length, 100);
});

t.test('a corpus without a document is an error that says what was there', async (t) => {
  const { folder, read } = setup(t, { 'a.docx': 'x', 'b.md': '', 'c.pdf': 'x' });
  await t.rejects(read(), {
    code: 'corpus_empty',
    message: new RegExp(`${folder}.*1 × \\.docx.*1 × empty, 1 × damaged`),
  });
});

t.test('a corpus that is not there is an error that names the path and the setting', async (t) => {
  const { folder, read } = setup(t, {});
  const path = join(folder, 'absent');
  await t.rejects(read(path), { code: 'corpus_unreadable', message: new RegExp(`${path}.*CORPUS_PATH`) });
});

t.test('every kind of file, whatever the case of its extension', async (t) => {
  const { read, report } = setup(t, {
    'A.MD': '# Title A\n\nText',
    'b.markdown': '# Title B\n\nText',
    'c.HTML': '<title>Title C</title><h2>Part</h2><p>Text',
    'd.htm': '<p>Text',
    'e.Pdf': pdf({ pages: [pdfLines('Text on one'), pdfLines('Text on two')], title: 'Title E' }),
    'f.pdf': pdf({ pages: [pdfLines('Text')] }),
    'g.NDJSON': lines({ id: 'x', text: 'Text' }),
  });
  t.same(
    (await read()).map(({ id, title, source, hasHeadings, pageStarts }) => {
      return [id, title, source, hasHeadings, pageStarts];
    }),
    [
      ['A.MD', 'Title A', 'A.MD', true, []],
      ['b.markdown', 'Title B', 'b.markdown', true, []],
      ['c.HTML', 'Title C', 'c.HTML', true, []],
      ['d.htm', 'd.htm', 'd.htm', true, []],
      ['e.Pdf', 'Title E', 'e.Pdf', false, [0, 13]],
      ['f.pdf', 'f.pdf', 'f.pdf', false, [0]],
      ['x', null, 'g.NDJSON', false, []],
    ],
  );
  t.equal(report.describeSkipped(), '');
});

t.test('files that cannot be taken apart are reported by kind', async (t) => {
  const { read, report } = setup(t, {
    'blank.html': '<script>1</script>',
    'deep.html': '<i>'.repeat(30_000),
    'locked.pdf': pdf({ pages: [pdfLines('Text')], isEncrypted: true }),
    'noise.pdf': 'no',
    'scan.pdf': pdf({ pages: [[]] }),
    'yes.md': 'yes',
  });
  await read();
  t.same(
    report.problems.map(({ file, line, reason }) => [file, line, reason]),
    [
      ['blank.html', null, 'no_text'],
      ['deep.html', null, 'too_complex'],
      ['locked.pdf', null, 'encrypted'],
      ['noise.pdf', null, 'damaged'],
      ['scan.pdf', null, 'no_text'],
    ],
  );
});

t.test('JSONL: metadata and names that would not fit beside our own are refused', async (t) => {
  const { folder, read, report } = setup(t, {
    'c.jsonl': lines(
      { id: 'ok', text: 'A', metadata: { 'a.b': 1, ü: true, toString: 'x' } },
      { id: 'x', text: 'A', metadata: { ragmill_title: 'x' } },
      { id: 'x', text: 'A', metadata: { 'chroma:document': 'x' } },
      { id: 'x', text: 'A', metadata: { $and: 1 } },
      { id: 'x', text: 'A', metadata: { '': 1 } },
      { id: 'x', text: 'A', metadata: { k: 'x'.repeat(20_000) } },
      { id: 'x'.repeat(3_000), text: 'A' },
      { id: 'x', text: 'A', title: 'x'.repeat(3_000) },
    ),
  });
  t.match(await read(join(folder, 'c.jsonl')), [
    { id: 'ok', metadata: { 'a.b': 1, ü: true, toString: 'x' } },
  ]);
  t.same(
    report.problems.map(({ line, reason }) => [line, reason]),
    [2, 3, 4, 5, 6, 7, 8].map((line) => [line, 'bad_line']),
  );
});

t.test('lines are cut alike wherever the reads end, and too long ones are passed over', async (t) => {
  const { folder } = setup(t, { 'x.jsonl': `${'a'.repeat(70_000)}\n\n${'b'.repeat(200_000)}\nend` });
  const found = await Array.fromAsync(linesOfFile(join(folder, 'x.jsonl'), 100_000));
  t.same(
    found.map(({ number, bytes }) => [number, bytes?.length ?? null]),
    [
      [1, 70_000],
      [2, 0],
      [3, null],
      [4, 3],
    ],
  );
});
