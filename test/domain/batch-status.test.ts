import t from 'tap';
import {
  BATCH_STATUSES,
  type BatchEvent,
  type BatchStatus,
  endingOf,
  isTerminal,
  nextStatus,
} from '../../src/domain/batch-status.ts';

const EVENTS: readonly BatchEvent[] = [
  'begin',
  'fail',
  'pause',
  'resume',
  'cancel',
  'expire',
  'finish',
  'retry',
];

const legalIn = (status: BatchStatus) => EVENTS.filter((event) => nextStatus(status, event) !== null);

t.test('every status leads to an end, and only a retry leads out of it', async (t) => {
  for (const status of BATCH_STATUSES.filter((status) => status !== 'failed' && status !== 'validating')) {
    if (isTerminal(status)) t.same(legalIn(status), ['retry'], status);
    else t.ok(isTerminal(nextStatus(status, 'finish') ?? status), `${status} ends with its last line`);
  }
});

t.test('a batch that is checked begins, fails or is cancelled, and nothing else happens to it', async (t) => {
  t.same(legalIn('validating'), ['begin', 'fail', 'cancel']);
  t.notOk(isTerminal('validating'));
  t.equal(nextStatus('validating', 'begin'), 'in_progress');
  t.equal(nextStatus('validating', 'fail'), 'failed');
  t.equal(nextStatus('validating', 'cancel'), 'cancelled', 'it has no lines to end first');
});

t.test('what has failed stays so, and only a check fails', async (t) => {
  t.ok(isTerminal('failed'));
  t.same(legalIn('failed'), []);
  t.same(
    BATCH_STATUSES.filter((status) => nextStatus(status, 'fail') !== null),
    ['validating'],
  );
});

t.test('what was cancelled or has expired does not become something else on its way out', async (t) => {
  const cases: [BatchStatus, BatchStatus, 'cancelled' | 'expired'][] = [
    ['cancelling', 'cancelled', 'cancelled'],
    ['finalizing', 'expired', 'expired'],
  ];
  for (const [status, end, ending] of cases) {
    t.same(
      EVENTS.filter((event) => nextStatus(status, event) !== null),
      ['finish'],
    );
    t.equal(nextStatus(status, 'finish'), end);
    t.equal(endingOf(status), ending);
  }
  t.equal(endingOf('in_progress'), null);
  t.equal(endingOf('paused'), null);
});

t.test('a pause can be resumed, cancelled and overtaken by the deadline', async (t) => {
  t.equal(nextStatus('in_progress', 'pause'), 'paused');
  t.equal(nextStatus('paused', 'pause'), null);
  t.equal(nextStatus('paused', 'resume'), 'in_progress');
  t.equal(nextStatus('paused', 'cancel'), 'cancelling');
  t.equal(nextStatus('paused', 'expire'), 'finalizing');
});
