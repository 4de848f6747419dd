import t from 'tap';
import { plainLine, readBlocks } from '../../src/embedded/passage-text.ts';

function lines(...text: string[]): string {
  return text.join('\n');
}

t.test('joins the wrapped lines of a paragraph and parts paragraphs at empty lines', (t) => {
  t.same(readBlocks(lines('One line', 'goes on.', '', 'Another.')), [
    { kind: 'prose', text: 'One line goes on.' },
    { kind: 'prose', text: 'Another.' },
  ]);
  t.end();
});

t.test('knows headings of both styles', (t) => {
  t.same(
    readBlocks(lines('## Settings ##', 'Text.', '', 'Limits', '------', 'More.', '### C#')).map(
      ({ kind, text }) => [kind, text],
    ),
    [
      ['heading', 'Settings'],
      ['prose', 'Text.'],
      ['heading', 'Limits'],
      ['prose', 'More.'],
      ['heading', 'C#'],
    ],
  );
  t.end();
});

t.test('makes each list item a block, its wrapped lines included', (t) => {
  t.same(
    readBlocks(lines('- **PORT** is the port', '  to listen on', '* second', '1. third', '2) fourth')).map(
      ({ text }) => text,
    ),
    ['PORT is the port to listen on', 'second', 'third', 'fourth'],
  );
  t.end();
});

t.test('reads a table row with the names of its columns', (t) => {
  const table = lines(
    '| name | default | what |',
    '|---|:-:|---|',
    '| `PORT` | 8080 | the port |',
    '| `A\\|B` |  | either |',
  );
  t.same(readBlocks(table), [
    { kind: 'row', text: 'PORT; default: 8080; what: the port' },
    { kind: 'row', text: 'A|B; what: either' },
  ]);
  t.same(readBlocks(lines('| word | meaning |', '|---|---|', '| lease | a right to work |')), [
    { kind: 'row', text: 'lease: a right to work' },
  ]);
  t.end();
});

t.test('keeps table rows that lost their header to another passage', (t) => {
  t.same(readBlocks('| lease | a right to work |'), [{ kind: 'row', text: 'lease: a right to work' }]);
  t.end();
});

t.test('makes each line of code a block and joins a short one to its lead-in', (t) => {
  t.same(readBlocks(lines('```sh', 'npm ci', 'npm run demo', '```', 'Done.')), [
    { kind: 'code', text: 'npm ci' },
    { kind: 'code', text: 'npm run demo' },
    { kind: 'prose', text: 'Done.' },
  ]);
  t.same(readBlocks(lines('Start it:', '', '```sh', 'npm run demo', '```')), [
    { kind: 'item', text: 'Start it: npm run demo' },
  ]);
  t.end();
});

t.test('finds back to prose when the passage began inside a block of code', (t) => {
  const blocks = readBlocks(
    lines('npm ci', '```', '', 'Then:', '', '```sh', 'npm start', '```', 'It is up.', 'Enjoy.'),
  );
  t.same(blocks.at(-1), { kind: 'prose', text: 'It is up. Enjoy.' });
  t.end();
});

t.test('takes inline markup away and leaves what only looks like it', (t) => {
  t.equal(
    plainLine('See **the [guide](https://example.org/a)** for `RAG_TOP_K`.'),
    'See the guide for RAG_TOP_K.',
  );
  t.equal(plainLine('2 * 3 * 4 and a_b_c and <seq>'), '2 * 3 * 4 and a_b_c and <seq>');
  t.equal(plainLine('<a id="x"></a>bodyLimit<br/>is *big*'), 'bodyLimit is big');
  t.end();
});

t.test('takes away what cannot be printed or turns the direction of writing', (t) => {
  t.equal(plainLine('a\u0000b\u202Ec\u2066d\u200Be\u001B[31m\tf\uD800'), 'abcde[31m f\uFFFD');
  t.end();
});
