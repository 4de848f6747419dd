import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import t from 'tap';
import { MessageGroups } from '../../src/generation/message-groups.ts';

t.test('what one turn of the event loop brings is one message, in its order', async (t) => {
  const { port1, port2 } = new MessageChannel();
  t.teardown(() => port1.close());
  const groups = new MessageGroups<number>(port1);
  groups.send(1);
  groups.send(2);
  await Promise.resolve();
  groups.send(3);
  t.same(await once(port2, 'message'), [[1, 2, 3]]);
  groups.send(4);
  t.same(await once(port2, 'message'), [[4]]);
});
