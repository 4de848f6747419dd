import t from 'tap';
import { parseRetryAfterMs, RETRY_AFTER_MAX_MS } from '../../src/model-server/retry-after.ts';

const NOW_MS = Date.parse('Sun, 06 Nov 1994 08:49:37 GMT');

t.test('reads seconds and dates', async (t) => {
  t.equal(parseRetryAfterMs('7', NOW_MS), 7_000);
  t.equal(parseRetryAfterMs(' 0 ', NOW_MS), 0);
  t.equal(parseRetryAfterMs('Sun, 06 Nov 1994 08:50:07 GMT', NOW_MS), 30_000);
  t.equal(parseRetryAfterMs('Sunday, 06-Nov-94 08:50:07 GMT', NOW_MS), 30_000);
  t.equal(parseRetryAfterMs(['3', '9'], NOW_MS), 3_000);
});

t.test('does not wait for a date that is over', async (t) => {
  t.equal(parseRetryAfterMs('Sun, 06 Nov 1994 08:00:00 GMT', NOW_MS), 0);
});

t.test('waits no longer than the cap', async (t) => {
  t.equal(parseRetryAfterMs('86400', NOW_MS), RETRY_AFTER_MAX_MS);
  t.equal(parseRetryAfterMs('Mon, 06 Nov 2034 08:00:00 GMT', NOW_MS), RETRY_AFTER_MAX_MS);
});

t.test('takes anything else for no wish at all', async (t) => {
  for (const header of [undefined, '', '-3', '1.5', 'soon', 'Sun, sometime', '2026-11-06']) {
    t.equal(parseRetryAfterMs(header, NOW_MS), null, String(header));
  }
});
