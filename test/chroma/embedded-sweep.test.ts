// The disk that deleted collections leave behind: given back at the next start, and never more than that.

import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pino from 'pino';
import t from 'tap';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { EmbeddedChroma } from '../../src/chroma/embedded-server.ts';
import { sweepChromaFolder } from '../../src/chroma/embedded-sweep.ts';
import { systemClock } from '../../src/time.ts';
import { succeeds } from '../fakes/real-chroma.ts';

const unreferenced = '0f462ee2-bf78-4e81-b372-855b22f0c060';
const referenced = '23f26af3-ee70-4302-b441-c9e1df87024a';

/** A folder with two index folders, of which the database knows one. */
function setup(t: { testdir(): string }, segmentColumns = 'id TEXT, type TEXT, scope TEXT, collection TEXT') {
  const dataDir = t.testdir();
  const database = new DatabaseSync(join(dataDir, 'chroma.sqlite3'));
  database.exec(`CREATE TABLE segments (${segmentColumns})`);
  database.exec(`INSERT INTO segments (id) VALUES ('${referenced}')`);
  for (const folder of [unreferenced, referenced, 'notes']) mkdirSync(join(dataDir, folder));
  writeFileSync(join(dataDir, '664b80cd-ff69-490d-828e-4b88649133d5'), 'a file with such a name');
  return { dataDir, database };
}

t.test('removes the index folders that no segment refers to, and nothing else', async (t) => {
  const { dataDir, database } = setup(t);
  database.close();
  t.same(sweepChromaFolder(dataDir), { removedFolders: 1, compacted: false, skipped: null });
  t.same(readdirSync(dataDir).sort(), [
    referenced,
    '664b80cd-ff69-490d-828e-4b88649133d5',
    'chroma.sqlite3',
    'notes',
  ]);
});

t.test('rewrites a database that is mostly free pages', async (t) => {
  const { dataDir, database } = setup(t);
  database.exec('CREATE TABLE bulk (text TEXT)');
  const insert = database.prepare('INSERT INTO bulk VALUES (?)');
  for (let row = 0; row < 24; row++) insert.run('x'.repeat(2 ** 20));
  database.exec('DELETE FROM bulk');
  database.close();
  t.match(sweepChromaFolder(dataDir), { compacted: true });
  t.ok(statSync(join(dataDir, 'chroma.sqlite3')).size < 2 ** 20);
  t.match(sweepChromaFolder(dataDir), { compacted: false });
});

t.test('leaves alone what it does not understand', async (t) => {
  const other = setup(t, 'id TEXT, collection_id TEXT');
  other.database.close();
  t.match(sweepChromaFolder(other.dataDir), { removedFolders: 0, skipped: /unknown shape/ });
  t.ok(existsSync(join(other.dataDir, unreferenced)));

  const broken = t.testdir({ 'chroma.sqlite3': 'no database', [unreferenced]: {} });
  t.match(sweepChromaFolder(broken), { removedFolders: 0, skipped: /not a database/ });
  t.ok(existsSync(join(broken, unreferenced)));

  const empty = t.testdir({ [unreferenced]: {} });
  t.same(sweepChromaFolder(empty), { removedFolders: 0, compacted: false, skipped: null });
  t.ok(existsSync(join(empty, unreferenced)), 'a folder without a database is none of ours');
});

t.test(
  'a collection deleted before a restart is gone from the disk after it, the others are whole',
  async (t) => {
    const dataDir = t.testdir();
    const limits = { timeoutMs: 30_000 };
    const folders = () => readdirSync(dataDir).filter((name) => name.length === unreferenced.length);
    const serve = async <T>(work: (connection: ChromaConnection) => Promise<T>): Promise<T> => {
      const server = new EmbeddedChroma({ dataDir, log: pino({ level: 'silent' }), clock: systemClock });
      t.teardown(() => server.stop());
      const { url } = await server.start();
      const result = await work(new ChromaConnection({ url }));
      await server.stop();
      return result;
    };
    const create = (connection: ChromaConnection, name: string) =>
      succeeds(
        connection.call(async (client) => {
          const created = await client.createCollection({ name, embeddingFunction: null });
          const ids = Array.from({ length: 1_100 }, (_unused, index) => `id-${index}`);
          await created.add({ ids, embeddings: ids.map((_id, index) => [index, 1]), documents: ids });
        }, limits),
      );
    await serve(async (connection) => {
      await create(connection, 'kept');
      await create(connection, 'dropped');
      await succeeds(connection.call((client) => client.deleteCollection({ name: 'dropped' }), limits));
    });
    t.equal(folders().length, 2, 'Chroma itself leaves the folder of the deleted collection');
    const found = await serve((connection) =>
      succeeds(
        connection.call(async (client) => {
          const kept = await client.getCollection({ name: 'kept' });
          return (await kept.query({ queryEmbeddings: [[5, 1]], nResults: 1 })).ids;
        }, limits),
      ),
    );
    t.same(found, [['id-5']]);
    t.equal(folders().length, 1);
  },
);
