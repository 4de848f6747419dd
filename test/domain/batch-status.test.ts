import t from 'tap';
import {
  BATCH_STATUSES,
  type BatchEvent,
  type BatchStatus,
  endingOf,
  isTerminal,
  nextStatus,
} from '../../src/domain/batch-status.ts';

const EVENTS: readonly BatchEvent[] = ['pause', 'resume', 'cancel', 'expire', 'finish', 'retry'];

t.test('every status leads to an end, and only a retry leads out of it', async (t) => {
  for (const status of BATCH_STATUSES) {
    const legal = EVENTS.filter((event) => nextStatus(status, event) !== null);
    if (isTerminal(status)) t.same(legal, ['retry'], status);
    else t.ok(isTerminal(nextStatus(status, 'finish') ?? status), `${status} ends with its last line`);
  }
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
