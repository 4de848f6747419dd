// A program for one test: a model server in a process of its own, that answers all it is asked after a moment. Started by
// StoppableModelServer; it says where it is, and lives until its parent is gone.

import { startFakeModelServer } from './fake-model-server.ts';

const server = await startFakeModelServer({ respond: { kind: 'answer', delayMs: 20 } });
process.on('disconnect', () => process.exit());
process.send?.(server.url);
