// Another client deletes, empties, occupies and re-creates the collection at random moments of a batch: every line is
// answered with documents all the same, and those of one build only.

import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ChromaClient } from 'chromadb';
import t from 'tap';
import { lexicalIndex } from '../../src/chroma/lexical-embedder.ts';
import { ownerKey } from '../../src/chroma/ownership.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';
import { startService } from '../fakes/running-service.ts';
import { until } from '../fakes/until.ts';

const STORMS = 20;
const LINES = 1190;
const name = 'storm';
const folder =
  process.env.QUESTION_SET ?? fileURLToPath(new URL('../../../shared/data/xquad', import.meta.url));

interface Document {
  readonly id: string;
  readonly title: string;
  readonly text: string;
}

/** The public question set where it is at hand; else documents and questions made here. */
function material(): { documents: Document[]; queries: string[] } {
  if (existsSync(folder)) {
    const lines = (file: string) => readFileSync(join(folder, file), 'utf8').trim().split('\n');
    return {
      documents: lines('documents.jsonl').map((line) => JSON.parse(line) as Document),
      queries: lines('questions.jsonl').map((line) => String(JSON.parse(line).query)),
    };
  }
  const documents = Array.from({ length: 240 }, (_unused, index) => ({
    id: `doc-${index}`,
    title: `Topic${index}`,
    text: `Station${index} lies beside river${index % 40} and keeps archive${index * 7}.`,
  }));
  const queries = Array.from(
    { length: LINES },
    (_unused, index) => `Which river passes station${index % 240}?`,
  );
  return { documents, queries };
}

const { documents, queries } = material();

/** The documents of one edition: its number stands in every passage. */
function corpusOf(edition: number): string {
  return documents
    .map(({ id, title, text }) => JSON.stringify({ id, text, title: `Edition ${edition} ${title}` }))
    .join('\n');
}

t.test(`${STORMS} deletions and re-creations by another client in the midst of a batch`, async (t) => {
  const chroma = await realChroma(t);
  const corpusFolder = mkdtempSync(join(tmpdir(), 'ragmill-corpus-'));
  t.teardown(() => rmSync(corpusFolder, { recursive: true, force: true }));
  const corpusPath = join(corpusFolder, 'corpus.jsonl');
  const publish = (edition: number) => {
    writeFileSync(`${corpusPath}.next`, corpusOf(edition));
    renameSync(`${corpusPath}.next`, corpusPath);
  };
  publish(0);
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, {
    CHROMA_URL: chroma.url,
    CHROMA_COLLECTION: name,
    CORPUS_PATH: corpusPath,
    GPU_ENDPOINTS: server.url,
    GPU_CONCURRENCY: '8',
  });
  const lines = queries.map((query, index) => JSON.stringify({ custom_id: `q${index}`, query })).join('\n');
  const calm = await service.upload(lines, '?max_failures=0');
  const calmResults = await service.allResults(calm.id);
  const findsNothing = new Set(
    calmResults.filter(({ rag }) => rag?.status === 'soft_failure').map(({ custom_id }) => custom_id),
  );
  t.ok(findsNothing.size < queries.length / 100, 'questions without a term of the corpus are few');

  const before = server.requests.length;
  server.respond({ kind: 'answer', delayMs: 350 });
  const { id } = await service.upload(lines, '?max_failures=0');
  await until('the batch to run', async () => (await service.batch(id)).last_seq > 0);
  const other = <T>(act: (client: ChromaClient) => Promise<T>) =>
    succeeds(chroma.call((client) => act(client), { timeoutMs: 60_000 }));
  const attacks = [deleteIt, deleteAndLeaveEmpty, emptyIt, recreateIt, occupyIt];
  for (let storm = 0; storm < STORMS; storm += 1) {
    await sleep(Math.random() * 2_500);
    publish(storm + 1);
    await other((client) => attacks[storm % attacks.length]?.(client) ?? Promise.resolve()).catch((error) => {
      // The service may be in the midst of healing: then there is nothing to attack.
      if (!/not_found/.test(String(error))) throw error;
    });
  }
  t.ok((await service.batch(id)).last_seq < queries.length, 'the batch was under way all the time');
  server.respond({ kind: 'answer' });
  const results = await service.allResults(id);
  t.equal(results.length, queries.length);
  const wrong = results.filter(
    ({ status, rag, custom_id }) =>
      status !== 'succeeded' ||
      (rag?.status !== 'success' && !findsNothing.has(custom_id)) ||
      (rag?.status === 'success' && rag.documents.length === 0),
  );
  t.same(wrong, [], 'every line succeeds, with documents');
  const mixed = server.requests.slice(before).filter((request) => {
    const editions = JSON.stringify(request.body.messages).match(/Edition \d+/g) ?? [];
    return new Set(editions).size > 1;
  });
  t.same(mixed, [], 'no prompt mixes two builds');
  const { collection_generations, rag_counts } = await service.batch(id);
  t.equal(rag_counts.hard_failure, 0);
  t.ok(collection_generations.length > 1, `${collection_generations.length} builds were used`);
  t.comment(`builds used: ${collection_generations.length}, questions without a term: ${findsNothing.size}`);
});

async function deleteIt(client: ChromaClient): Promise<void> {
  await client.deleteCollection({ name });
}

async function deleteAndLeaveEmpty(client: ChromaClient): Promise<void> {
  await client.deleteCollection({ name });
  await client.createCollection({ name, embeddingFunction: null });
}

async function emptyIt(client: ChromaClient): Promise<void> {
  const collection = await client.getCollection({ name });
  const { ids } = await collection.get({ include: [] });
  if (ids.length > 0) await collection.delete({ ids });
}

/** The same contents and mark, under another UUID. */
async function recreateIt(client: ChromaClient): Promise<void> {
  const collection = await client.getCollection({ name });
  const got = await collection.get({ include: ['documents', 'embeddings', 'metadatas'] });
  await client.deleteCollection({ name });
  const created = await client.createCollection({
    name,
    embeddingFunction: null,
    metadata: { [ownerKey]: String(collection.metadata?.[ownerKey]) },
    configuration: { hnsw: lexicalIndex },
  });
  if (got.ids.length === 0) return;
  await created.add({
    ids: got.ids,
    embeddings: got.embeddings as number[][],
    documents: got.documents as string[],
    metadatas: got.metadatas as Record<string, string>[],
  });
}

/** Somebody else's records under the name, for a while. */
async function occupyIt(client: ChromaClient): Promise<void> {
  await client.deleteCollection({ name });
  const created = await client.createCollection({ name, embeddingFunction: null });
  await created.add({ ids: ['a'], embeddings: [[1, 0]], documents: ['Theirs.'] });
  await sleep(Math.random() * 2_000);
  await client.deleteCollection({ name });
}
