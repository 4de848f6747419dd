// What the services of one campaign share: a Chroma, a model server, a corpus of five documents, and chance with a
// seed that can be given again.

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
  const chroma = await realChroma(t);
  const server = await CountingModelServer.start();
  t.teardown(() => server.close());
  const settings = { CHROMA_URL: chroma.url, CORPUS_PATH: corpusFile(t), GPU_ENDPOINTS: server.url };
  return { server, open: (more = {}) => new ChaosService({ ...settings, ...more }) };
}
