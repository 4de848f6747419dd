import t from 'tap';
import { ModelServerClient } from '../../src/model-server/model-server-client.ts';
import { systemClock } from '../../src/time.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { KIND_FAULTS } from '../fakes/kind-faults.ts';

const LONG_MS = 120_000;

for (const [kind, faults] of Object.entries(KIND_FAULTS)) {
  t.test(`knows what ${kind} means when something is wrong`, async (t) => {
    const server = await startFakeModelServer();
    const client = new ModelServerClient(systemClock);
    t.teardown(async () => {
      await client.close();
      await server.close();
    });
    for (const fault of faults) {
      server.respond(fault.behaviour);
      const outcome = await client.chatCompletion({
        endpointUrl: server.url,
        apiKey: null,
        serverKind: kind as keyof typeof KIND_FAULTS,
        requestId: 'request-1',
        body: { model: 'fake-model', messages: [{ role: 'user', content: 'Why?' }] },
        totalTimeoutMs: LONG_MS,
        firstTokenTimeoutMs: LONG_MS,
        stallTimeoutMs: LONG_MS,
      });
      t.match(outcome, { kind: 'failure', class: fault.class }, fault.what);
    }
  });
}
