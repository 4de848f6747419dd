import t from 'tap';
import { prefersEventStream } from '../../src/routes/accept.ts';

t.test('events are sent to those who prefer them, and to nobody else', async (t) => {
  const cases: [string | undefined, boolean][] = [
    [undefined, false],
    ['', false],
    ['*/*', false],
    ['application/x-ndjson', false],
    ['application/json', false],
    ['text/event-stream', true],
    ['Text/Event-Stream', true],
    ['text/event-stream;charset=utf-8', true],
    ['text/event-stream, */*', true],
    ['*/*, text/event-stream', true],
    ['text/*', true],
    ['text/html, */*;q=0.1', false],
    ['text/event-stream, application/x-ndjson', false],
    ['text/event-stream;q=0.9, application/x-ndjson', false],
    ['text/event-stream, application/x-ndjson;q=0.9', true],
    ['application/x-ndjson; q=0.5 , text/event-stream ; Q = 0.6', true],
    ['text/event-stream;q=0', false],
    ['text/event-stream;q=0, */*', false],
    ['text/*;q=1, text/event-stream;q=0.1, application/x-ndjson;q=0.5', false],
    ['text/event-stream;q=0.2, */*;q=0.1', true],
    ['text/event-stream;q=2', false],
    ['text/event-stream;q=', false],
    ['text/event-stream-x', false],
    [',,;;q=1, text', false],
  ];
  for (const [accept, expected] of cases) t.equal(prefersEventStream(accept), expected, accept ?? 'none');
});
