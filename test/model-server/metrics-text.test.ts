import fc from 'fast-check';
import t from 'tap';
import { samplesOf } from '../../src/model-server/metrics-text.ts';

const WANTED = new Set(['vllm:running', 'up']);

function read(text: string) {
  return samplesOf(text, WANTED).map(({ name, labels, value }) => [name, Object.fromEntries(labels), value]);
}

t.test('reads the samples it is asked for, with their labels', async (t) => {
  const text = [
    '# HELP vllm:running Number {of} requests.',
    '# TYPE vllm:running gauge',
    'vllm:running{engine="0",model_name="a"} 3.0',
    'vllm:running{engine="1",model_name="a",} 4.0 1700000000000',
    'vllm:running_by_reason{reason="x"} 9',
    'up 1\r',
    'down 5',
    '',
  ].join('\n');
  t.same(read(text), [
    ['vllm:running', { engine: '0', model_name: 'a' }, 3],
    ['vllm:running', { engine: '1', model_name: 'a' }, 4],
    ['up', {}, 1],
  ]);
});

t.test('is not misled by signs within the labels', async (t) => {
  t.same(read(String.raw`up{a="}\" 7,b=\"",b="\\",c="x\ny"} 2`), [
    ['up', { a: '}" 7,b="', b: '\\', c: 'x\ny' }, 2],
  ]);
});

t.test('passes over what is no sample', async (t) => {
  for (const line of ['up', 'up ', 'up{', 'up{a="1" 3', 'up{a=1} 3', 'up{a="1"}', ' up 3', 'up{,} 3']) {
    t.same(read(line), [], line);
  }
});

t.test('hands on numbers as they are, also those that are none', async (t) => {
  t.same(
    samplesOf('up 1e3\nup -2\nup NaN\nup +Inf\nup x', WANTED).map(({ value }) => value),
    [1000, -2, Number.NaN, Number.NaN, Number.NaN],
  );
});

t.test('finds again what was written, whatever stands in the labels', async () => {
  const label = fc.constantFrom('a', 'engine', 'model_name', '_b1');
  const labels = fc.dictionary(
    label,
    fc.string({ unit: 'binary-ascii' }).map((text) => text.replaceAll('\r', '')),
    {
      maxKeys: 4,
    },
  );
  const escaped = (text: string) =>
    text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  fc.assert(
    fc.property(fc.array(fc.tuple(labels, fc.nat())), (samples) => {
      const text = samples
        .map(([labels, value]) => {
          const pairs = Object.entries(labels).map(([name, text]) => `${name}="${escaped(text)}"`);
          return `up{${pairs.join(',')}} ${value}`;
        })
        .join('\n');
      const found = samplesOf(text, WANTED);
      return (
        found.length === samples.length &&
        samples.every(
          ([labels, value], index) =>
            found[index]?.value === value &&
            Object.entries(labels).every(([name, text]) => found[index]?.labels.get(name) === text),
        )
      );
    }),
    { numRuns: 100 },
  );
});

t.test('never fails, and takes hostile text in its stride', async (t) => {
  const piece = fc.constantFrom('up', '{', '}', '"', '\\', ',', '=', 'a', ' ', '\n', '1', '\u2028');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) =>
      Array.isArray(samplesOf(pieces.join(''), WANTED)),
    ),
    { numRuns: 2_000 },
  );
  for (const text of [
    `up{${'a="1",'.repeat(200_000)}`,
    `up{a="${'\\'.repeat(1_000_001)}`,
    'up{'.repeat(300_000),
  ]) {
    t.same(read(text), []);
  }
});
