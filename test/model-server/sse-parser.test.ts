import fc from 'fast-check';
import t from 'tap';
import { type ServerSentEvent, SseParser } from '../../src/model-server/sse-parser.ts';

function parse(pieces: readonly string[]): ServerSentEvent[] {
  const parser = new SseParser();
  const events = pieces.flatMap((piece) => parser.push(piece));
  const last = parser.end();
  return last === null ? events : [...events, last];
}

const data = (...values: string[]) => values.map((value) => ({ event: '', data: value }));

t.test('reads events whatever their lines end in', async (t) => {
  for (const end of ['\n', '\r\n', '\r']) {
    t.same(parse([`data: one${end}${end}data: two${end}${end}`]), data('one', 'two'));
  }
});

t.test('takes CRLF that is split between two packets for one line end', async (t) => {
  t.same(parse(['data: a\r', '\ndata: b\r', '\n\r', '\n']), data('a\nb'));
});

t.test('drops comments and unknown fields, joins data lines, keeps the name of the event', async (t) => {
  const text = ': ping\n\nid: 7\nretry: 10\nevent: error\ndata: a\ndata:b\ndata\n\n:\n\n';
  t.same(parse([text]), [{ event: 'error', data: 'a\nb\n' }]);
});

t.test('forgets the name of an event that has no data', async (t) => {
  t.same(parse(['event: error\n\ndata: fine\n\n']), data('fine'));
});

t.test('keeps a last event that no blank line closes', async (t) => {
  t.same(parse(['data: one\n\ndata: [DONE]']), data('one', '[DONE]'));
});

t.test('gives the same events however the text is cut', async () => {
  const line = fc.oneof(
    fc.string().map((text) => `data: ${text}`),
    fc.constantFrom('', '', ':comment', 'event: x', 'data', 'nonsense'),
  );
  const text = fc
    .array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 12 })
    .map((lines) => lines.flat().join(''));
  fc.assert(
    fc.property(text, fc.array(fc.nat({ max: 200 }), { maxLength: 8 }), (whole, cuts) => {
      const places = [
        0,
        ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b),
        whole.length,
      ];
      const pieces = places.slice(1).map((place, index) => whole.slice(places[index], place));
      const expected = JSON.stringify(parse([whole]));
      return JSON.stringify(parse(pieces)) === expected && JSON.stringify(parse([...whole])) === expected;
    }),
  );
});

t.test('takes a field "error" for an error, as llama.cpp used to send it', async (t) => {
  const parser = new SseParser();
  t.same(parser.push('data: a\n\nerror: {"code":400}\n\n'), [
    { event: '', data: 'a' },
    { event: 'error', data: '{"code":400}' },
  ]);
});
