// Rank 0 is killed at each step of its way to READY, one start after the other in the same folder: nobody is ever ready
// half-built, what was left is cleared away by the start that gets through, and what is somebody else's stays as it is.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServiceProcess } from '../../src/cli/service-process.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';
import { corpusFile } from '../fakes/running-service.ts';
import { QUIET } from '../fakes/spawned-service.ts';

const preload = new URL('../fakes/kill-at-chroma-call.ts', import.meta.url).href;
const name = 'killed';
const limits = { timeoutMs: 60_000 };
const chroma = await realChroma(t);

/**
 * Building, retiring the old one, swapping, deleting. Each start finds what the kills before it have left: behind the first
 * `after PUT 1` nothing stands under the name, and the first renaming is the one that gives it.
 */
const kills = [
  'after POST /collections 1',
  'before POST /upsert 1',
  'after POST /upsert 1',
  'before PUT /collections/ 1',
  'after PUT /collections/ 2',
  'before DELETE /collections/ 1',
  'before DELETE /collections/ 2',
  'after DELETE /collections/ 2',
  'after PUT /collections/ 1',
  'before PUT /collections/ 1',
  'after PUT /collections/ 1',
];

async function contentsOf(collection: string): Promise<string> {
  return succeeds(
    chroma.call(async (client) => {
      const it = await client.getCollection({ name: collection });
      const everything = await it.get({ include: ['documents', 'embeddings', 'metadatas'] });
      return JSON.stringify([it.id, it.metadata, it.configuration, everything]);
    }, limits),
  );
}

async function createForeign(collection: string, metadata?: Record<string, string>): Promise<string> {
  await succeeds(
    chroma.call(async (client) => {
      const theirs = await client.createCollection({
        name: collection,
        embeddingFunction: null,
        ...(metadata === undefined ? {} : { metadata }),
      });
      const embeddings = [
        [1, 0.25],
        [0.5, 1],
      ];
      await theirs.add({
        ids: ['a', 'b'],
        embeddings,
        documents: ['one', 'two'],
        metadatas: [{ n: 1 }, { n: 2 }],
      });
    }, limits),
  );
  return contentsOf(collection);
}

function counts(): Promise<Record<string, number>> {
  return succeeds(
    chroma.call(async (client) => {
      const all = await client.listCollections({ limit: 1_000 });
      return Object.fromEntries(await Promise.all(all.map(async (it) => [it.name, await it.count()])));
    }, limits),
  );
}

function start(t: Test, folder: string, settings: Readonly<Record<string, string>>): ServiceProcess {
  const service = new ServiceProcess(
    { CHROMA_URL: chroma.url, CHROMA_COLLECTION: name, GENERATION_THREADS: '1', ...settings },
    { folder, nodeArguments: ['--import', preload] },
  );
  t.teardown(() => service.stop());
  return service;
}

t.test('killed at each step, with every way of resetting', async (t) => {
  const foreign = {
    theirs: await createForeign('theirs', { ragmill_owner: 'another store' }),
    [`${name}.77`]: await createForeign(`${name}.77`),
    [`${name}.78.retired`]: await createForeign(`${name}.78.retired`, { ragmill_owner: 'another store' }),
  };
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-kills-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const CORPUS_PATH = corpusFile(t);
  // The first start makes the collection that the others replace.
  const first = start(t, folder, { CORPUS_PATH, RESET_COLLECTION: 'always' });
  await first.ready(QUIET);
  await first.end('SIGTERM');
  for (const RESET_COLLECTION of ['always', 'if-changed']) {
    // What has not changed would only be joined.
    const text = readFileSync(CORPUS_PATH, 'utf8').replaceAll('lens', `lens of ${RESET_COLLECTION}`);
    writeFileSync(CORPUS_PATH, text);
    const settings = { CORPUS_PATH, RESET_COLLECTION };
    // READY is recorded before the last deletion: where only changes count, it is then joined.
    const isPassed = (kill: string) =>
      RESET_COLLECTION === 'always' || !kill.endsWith('DELETE /collections/ 2');
    for (const KILL_AT of kills.filter(isPassed)) {
      const service = start(t, folder, { ...settings, KILL_AT });
      await t.rejects(service.ready(QUIET), `${RESET_COLLECTION}, killed ${KILL_AT}, and never ready`);
      const { [name]: count = 5 } = await counts();
      t.equal(count, 5, 'under the name there is nothing, or all of it');
    }
    const survivor = start(t, folder, settings);
    await survivor.ready(QUIET);
    t.same(await counts(), { theirs: 2, [`${name}.77`]: 2, [`${name}.78.retired`]: 2, [name]: 5 });
    const body = JSON.stringify({ query: 'Who polishes the lens?' });
    t.match(await (await fetch(`${survivor.url}/search`, { method: 'POST', body })).json(), {
      status: 'success',
    });
    await survivor.end('SIGTERM');
  }
  for (const [collection, before] of Object.entries(foreign)) t.equal(await contentsOf(collection), before);
});
