import t from 'tap';
import { reasonToPause } from '../../src/domain/pausing.ts';

const example = { line: 7, code: 'generation_rejected', message: 'too long.' };
const calm = { pauseAt: null, ranLines: 0, maxFailures: null, watchedFinished: 0, watchedFailed: 0 };

t.test('the default looks at two hundred lines before it judges', async (t) => {
  t.equal(reasonToPause({ ...calm, watchedFinished: 199, watchedFailed: 199 }, example), null);
  t.equal(reasonToPause({ ...calm, watchedFinished: 200, watchedFailed: 99 }, example), null);
  t.match(reasonToPause({ ...calm, watchedFinished: 200, watchedFailed: 100 }, example), {
    code: 'max_failures',
    message: /100 of 200 lines failed.*line 7: generation_rejected, too long\./,
  });
});

t.test('a number of its own counts at once, and 0 never pauses', async (t) => {
  const three = { ...calm, maxFailures: 3, watchedFinished: 3 };
  t.equal(reasonToPause({ ...three, watchedFailed: 2 }, example), null);
  t.match(reasonToPause({ ...three, watchedFailed: 3 }, example), { code: 'max_failures' });
  t.equal(
    reasonToPause({ ...calm, maxFailures: 0, watchedFinished: 900, watchedFailed: 900 }, example),
    null,
  );
  t.equal(reasonToPause({ ...three, watchedFailed: 5 }, null), null, 'a success is no reason to pause');
});

t.test('pause_after stops at its line', async (t) => {
  t.equal(reasonToPause({ ...calm, pauseAt: 20, ranLines: 19 }, null), null);
  t.match(reasonToPause({ ...calm, pauseAt: 20, ranLines: 20 }, null), { code: 'pause_after' });
});
