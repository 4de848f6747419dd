// The service with an embedding server: a batch is answered from what its vectors find, and no restart embeds the corpus again.

import t from 'tap';
import { startFakeEmbeddingServer } from '../fakes/fake-embedding-server.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { corpusFile, questions, startService } from '../fakes/running-service.ts';

t.test(
  'answers a batch with the documents that the vectors find; a restart embeds nothing again',
  async (t) => {
    const models = await startFakeModelServer();
    t.teardown(() => models.close());
    const embedder = await startFakeEmbeddingServer(t);
    embedder.dimensions = 256;
    const settings = {
      GPU_ENDPOINTS: models.url,
      CORPUS_PATH: corpusFile(t),
      DATA_DIR: t.testdir(),
      CHROMA_COLLECTION: 'embedded-by-server',
      RAG_OUTAGE_MS: '300',
      EMBEDDING_URL: `${embedder.url}/v1`,
      EMBEDDING_MODEL: 'words',
      EMBEDDING_API_KEY: 'sk-embedding',
      EMBEDDING_QUERY_PREFIX: 'query: ',
      EMBEDDING_DOCUMENT_PREFIX: 'passage: ',
    };
    const isPassage = (text: string) => text.startsWith('passage: ');
    const first = await startService(t, settings);
    t.equal(embedder.texts.filter(isPassage).length, 5, 'every passage once');
    const { id } = await first.upload(questions(20), '?top_k=1');
    const lines = await first.allResults(id);
    t.equal(lines.length, 20);
    const expected = ['lens', 'ice', 'bread', 'violin', 'geese'];
    for (const { line, status, rag } of lines) {
      t.equal(status, 'succeeded');
      t.match(rag, { status: 'success', documents: [{ id: expected[(line - 1) % 5] }] });
    }
    t.ok(embedder.requests.every(({ headers }) => headers.authorization === 'Bearer sk-embedding'));

    embedder.maxCharacters = 200;
    const long = JSON.stringify({ custom_id: 'long', query: 'keeper lens '.repeat(50) });
    const tooLong = await first.upload(`${long}\n${questions(2)}`);
    const rag = (await first.allResults(tooLong.id)).map((line) => line.rag);
    t.same(rag.map((outcome) => outcome?.status).toSorted(), ['soft_failure', 'success', 'success']);
    t.ok(
      rag.some(
        (outcome) => outcome?.status === 'soft_failure' && JSON.stringify(outcome).includes('query_unusable'),
      ),
    );

    await embedder.refuse();
    const down = await first.upload(questions(3));
    for (const { error } of await first.allResults(down.id))
      t.match(error, { stage: 'rag', code: 'rag_unavailable' });
    await embedder.accept();
    await first.app.stop();

    embedder.requests.length = 0;
    const second = await startService(t, settings);
    t.same(embedder.texts.filter(isPassage), [], 'always filled anew, from the cache');
    const again = await second.upload(questions(5), '?top_k=1');
    for (const { line, rag: outcome } of await second.allResults(again.id)) {
      t.match(outcome, { status: 'success', documents: [{ id: expected[(line - 1) % 5] }] });
    }
    await second.app.stop();
  },
);
