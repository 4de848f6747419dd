import t from 'tap';
import { ANSWER_MAX_CHARACTERS, type Extraction, extractAnswer } from '../../src/embedded/extract.ts';

const MILL = {
  label: 'mill.md#0',
  title: 'The old mill',
  text:
    'The mill of Ashford was built in 1742 by Jonas Reed. It grinds 300 kg of wheat an hour. ' +
    'Its wheel is driven by the river Stour. Visitors may see it on Sundays.',
};
const BREAD = {
  label: 'bread.md#2',
  title: 'Bread',
  text: 'Bread is baked from flour, water and salt. Rye bread keeps longer.',
};

function textOf(extraction: Extraction): string {
  return extraction.kind === 'found' ? extraction.text : '(refused)';
}

function ask(question: string, ...texts: string[]): string {
  return textOf(
    extractAnswer(
      question,
      texts.map((text) => ({ label: '', title: '', text })),
    ),
  );
}

t.test('answers with the sentence that says it, whichever passage it stands in', (t) => {
  t.match(
    textOf(extractAnswer('Who built the mill of Ashford?', [MILL, BREAD])),
    /^The mill of Ashford .* Reed\./,
  );
  t.match(textOf(extractAnswer('What is bread baked from?', [MILL, BREAD])), /^Bread is baked from flour/);
  t.end();
});

t.test('finds a sentence whose subject stands in the sentence before', (t) => {
  t.match(textOf(extractAnswer('How much wheat does the mill grind an hour?', [MILL, BREAD])), /300 kg/);
  const answer = ask(
    'How much does the mill earn?',
    'The bakery is new. It earns 30 pounds. The mill is old. It earns 90 pounds.',
  );
  t.equal(answer, 'The mill is old. It earns 90 pounds.');
  t.end();
});

t.test('finds a word by another form of it', (t) => {
  const answer = ask(
    'Who ruled the Norman people?',
    'William ruled people in Kent. Edward ruled people in Wessex. Rollo ruled people in Normandy. Rome slept.',
  );
  t.match(answer, /Rollo ruled/);
  t.match(
    ask('Which mill burns?', 'All is well. The mills are burning. Bread is dear.'),
    /^The mills are burning/,
  );
  t.end();
});

t.test('prefers the better ranked of two passages that say the same', (t) => {
  t.match(
    ask('How old is the mill?', 'The mill is 90 years old.', 'The mill is 20 years old.'),
    /^The mill is 90/,
  );
  t.end();
});

t.test('prefers the row or item that is about the word to text that only has it', (t) => {
  const answer = ask(
    'What is a lease?',
    'Nobody renews the lease.',
    '| lease | a right to work |\n| window | a number |',
  );
  t.match(answer, /^lease: a right to work/);
  t.end();
});

t.test('refuses what the context is not about', (t) => {
  for (const question of ['Who won the world cup in 1998?', 'When was penicillin discovered?']) {
    t.equal(extractAnswer(question, [MILL, BREAD]).kind, 'not_found');
  }
  t.end();
});

t.test('refuses where there is nothing to ask or nothing to read', (t) => {
  for (const question of ['', '???', 'Who is it?', '\u0000\u202E']) {
    t.equal(extractAnswer(question, [MILL]).kind, 'not_found', JSON.stringify(question));
  }
  for (const text of ['', ' \n\n ', '```\n```', '# The mill', '|---|', '\u0000'.repeat(100)]) {
    t.equal(ask('Who built the mill?', text), '(refused)', JSON.stringify(text.slice(0, 20)));
  }
  t.equal(extractAnswer('Who built the mill?', []).kind, 'not_found');
  t.end();
});

t.test('says at most two sentences and 400 characters, and cuts between words', (t) => {
  const long = `${'grain and flour and '.repeat(60)}the answer is forty-two mills, ${'said the miller again and '.repeat(60)}`;
  const answer = ask('How many mills is the answer?', long);
  t.match(answer, /the answer is forty-two mills/, 'the stretch that matters is kept');
  t.ok(answer.length <= ANSWER_MAX_CHARACTERS);
  t.match(answer, /^….*…$/);
  for (const word of answer.slice(1, -1).split(' ')) t.ok(long.split(' ').includes(word), word);

  const many =
    'The mill grinds wheat. '.repeat(3) +
    Array.from({ length: 40 }, (_, n) => `Mill ${n} grinds rye.`).join(' ');
  t.equal(ask('What does the mill grind?', many).match(/\./g)?.length, 2);
  t.end();
});

t.test('does not say the same sentence twice', (t) => {
  const answer = ask('What does the mill grind?', 'The mill grinds wheat.', 'The mill grinds wheat.');
  t.equal(answer, 'The mill grinds wheat.');
  t.end();
});

t.test('keeps two sentences of one passage in their order', (t) => {
  const answer = ask(
    'When was the mill built and by whom was the mill burnt down?',
    'The mill was built in 1742. It was Tom who burnt down the mill.',
  );
  t.equal(answer, 'The mill was built in 1742. It was Tom who burnt down the mill.');
  t.end();
});

t.test('answers from a bullet, a table row and a line of code, as plain text', (t) => {
  const page = [
    '# Settings',
    '## Network',
    '- `PORT`: the **port** to listen on (8080)',
    '- `HOST`: the address to bind (127.0.0.1)',
    '',
    '| word | meaning |',
    '|---|---|',
    '| lease | a time-limited right to work on a [chunk](#chunk) |',
    '| window | how many requests may be in flight |',
    '',
    'Start the demo with this command:',
    '```sh',
    'npm run demo',
    '```',
  ].join('\n');
  t.match(ask('Which port does it listen on?', page), /^PORT: the port to listen on \(8080\)/);
  t.match(ask('What is a lease?', page), /^lease: a time-limited right to work on a chunk/);
  t.match(ask('How do I start the demo?', page), /^Start the demo with this command: npm run demo/);
  t.end();
});

t.test('credits a sentence with its heading', (t) => {
  const page =
    '## Cancelling\nIt takes one call and keeps what is done.\n## Deleting\nIt takes one call and frees the disk.';
  t.match(ask('What does deleting take?', page), /^It takes one call and frees the disk\./);
  t.match(ask('What does cancelling take?', page), /^It takes one call and keeps what is done\./);
  t.end();
});

t.test('answers in other languages', (t) => {
  t.match(
    ask(
      'Wer baute die Mühle in Ashford?',
      'Brot ist alt. Die Mühle in Ashford baute Jonas Reed. Sie steht noch.',
    ),
    /Jonas Reed/,
  );
  t.match(ask('磨坊建于哪一年？', '面包很好吃。磨坊建于1742年。今天是星期一。'), /1742/);
  t.match(ask('Кто построил мельницу?', 'Хлеб вкусный. Мельницу построил Иван. Она стоит.'), /Иван/);
  t.end();
});

t.test('puts nothing unprintable into an answer', (t) => {
  const answer = ask(
    'Who built the mill?',
    'The mill was \u202Ebuilt\u202C by\u0000 Jonas\u001B[2J \u2066Reed\u2069.\uFEFF',
  );
  t.equal(answer, 'The mill was built by Jonas[2J Reed.');
  t.end();
});

t.test(
  'cites the passage behind each statement, one passage once, and stays within its length',
  async (t) => {
    const cite = (question: string, ...passages: (typeof MILL)[]) =>
      textOf(extractAnswer(question, passages, { isCiting: true }));
    t.match(
      cite('Who built the mill of Ashford?', MILL, BREAD),
      /^The mill of Ashford .*Reed\..* \[mill\.md#0\]$/,
    );
    t.equal(cite('Who built the mill of Ashford?', MILL).split('[').length, 2);
    const both = cite('What grinds wheat, and what is bread baked from flour and water?', MILL, BREAD);
    t.match(both, /\[mill\.md#0\]/);
    t.match(both, /\[bread\.md#2\]/);
    const long = {
      ...MILL,
      text: `The mill of Ashford was built ${'by one or another of many hands '.repeat(40)}.`,
    };
    for (const passages of [[long], [long, BREAD], [BREAD, long]]) {
      const text = cite('Who built the mill of Ashford from bread?', ...passages);
      t.ok(text.length <= ANSWER_MAX_CHARACTERS);
      t.match(text, /\[(?:mill\.md#0|bread\.md#2)\]$/);
    }
    t.notMatch(cite('Who built the mill of Ashford?', { ...MILL, label: '' }), /\[/);
  },
);
