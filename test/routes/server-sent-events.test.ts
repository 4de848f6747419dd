import fc from 'fast-check';
import t from 'tap';
import { SseParser } from '../../src/model-server/sse-parser.ts';
import { eventText } from '../../src/routes/server-sent-events.ts';

t.test('whatever JSON goes in comes out, in whatever pieces it arrives', async () => {
  fc.assert(
    fc.property(fc.array(fc.json()), fc.array(fc.nat(50), { minLength: 1 }), (values, cuts) => {
      const text = values
        .map((data, index) => eventText({ id: String(index), event: 'result', data }))
        .join('');
      const parser = new SseParser();
      const received: string[] = [];
      for (let start = 0, turn = 0; start < text.length; turn += 1) {
        const end = start + 1 + (cuts[turn % cuts.length] ?? 0);
        received.push(...parser.push(text.slice(start, end)).map(({ data }) => data));
        start = end;
      }
      return JSON.stringify(received) === JSON.stringify(values);
    }),
  );
});

t.test('a line break would end the field, so there must be none', async (t) => {
  for (const data of ['a\nb', 'a\rb', '\r\n']) {
    t.throws(() => eventText({ id: null, event: 'result', data }), { message: /line break/ });
  }
  t.equal(eventText({ id: null, event: 'end', data: '{"a":"\\n"}' }), 'event: end\ndata: {"a":"\\n"}\n\n');
});
