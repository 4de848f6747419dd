// What the services of one campaign share: a Chroma, a model server, a corpus of five documents, and chance with a
// seed that can be given again.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { realChroma } from '../fakes/real-chroma.ts';
import { corpusFile } from '../fakes/running-service.ts';
import { ChaosService } from './chaos-service.ts';
import { CountingModelServer } from './counting-model-server.ts';

export interface Surroundings {
  readonly server: CountingModelServer;
  /** A service on a new data folder; not started. */
  readonly open: (settings?: Readonly<Record<string, string>>) => ChaosService;
}

export async function chaosSurroundings(t: Test): Promise<Surroundings> {
  // A folder of its own: tap's would be shared by two runs of one campaign, and the first to end takes it away.
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-chaos-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const chroma = await realChroma({ testdir: () => folder, teardown: (stop) => t.teardown(stop) });
  const server = await CountingModelServer.start();
  t.teardown(() => server.close());
  const settings = { CHROMA_URL: chroma.url, CORPUS_PATH: corpusFile(t), GPU_ENDPOINTS: server.url };
  return { server, open: (more = {}) => new ChaosService({ ...settings, ...more }) };
}
