// The embedder of an embedding server: what it asks, what it makes of refusals and troubles, and when it is another one.

import { mkdirSync } from 'node:fs';
import t, { type Test } from 'tap';
import { surveyCorpus } from '../../src/chroma/corpus-survey.ts';
import type { EmbedderFailure } from '../../src/chroma/embedder-failure.ts';
import { embedQuestions } from '../../src/chroma/question-vectors.ts';
import { embedderFixture } from '../fakes/embedder-fixtures.ts';
import { refusal } from '../fakes/fake-embedding-server.ts';
import { smallCorpus } from '../fakes/small-corpus.ts';

const quickly = { timeoutMs: 30_000 };

/** Waits end as soon as they are over for the server, so the patience here only bounds a test that fails. */
const patient = { BOOTSTRAP_TIMEOUT_MS: '60000' };
const impatient = { BOOTSTRAP_TIMEOUT_MS: '1' };

function rejectsAs(t: Test, promise: Promise<unknown>, expected: Partial<EmbedderFailure>) {
  return t.rejects(promise, { name: 'RagmillError', ...expected });
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_unused, index) => `passage number${index}`);

t.test('embeds in batches, in order, with the prefixes of passages and questions', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const prefixes = { EMBEDDING_QUERY_PREFIX: 'query: ', EMBEDDING_DOCUMENT_PREFIX: 'passage: ' };
  const embedding = await embedder({ ...prefixes, EMBEDDING_BATCH_SIZE: '10' });
  server.requests.length = 0;
  const texts = numbered(35);
  t.strictSame(
    await embedding.embedDocuments(texts),
    texts.map((text) => server.vectorOf(`passage: ${text}`)),
  );
  t.same(server.requests.map((request) => request.texts.length).toSorted(), [10, 10, 10, 5]);
  t.strictSame(await embedding.embedQueries(['glaciers'], quickly), [server.vectorOf('query: glaciers')]);
  t.ok(server.requests.every(({ model, encoding }) => model === 'words' && encoding === 'base64'));
  t.equal(embedding.dimensions, 64);
});

t.test('a server that knows only lists of numbers is asked for these', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  server.knowsBase64 = false;
  const embedding = await embedder();
  t.strictSame(await embedding.embedQueries(['ice'], quickly), [server.vectorOf('ice')]);
  t.same(
    server.requests.map(({ encoding }) => encoding),
    ['base64', 'float', 'float'],
  );
});

t.test('finds how many texts the server takes', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder({ EMBEDDING_BATCH_SIZE: '64' });
  server.maxTexts = 10;
  server.requests.length = 0;
  t.equal((await embedding.embedDocuments(numbered(64))).length, 64);
  const asked = server.requests.length;
  server.requests.length = 0;
  await embedding.embedDocuments(numbered(64).map((text) => `${text} again`));
  t.ok(server.requests.length < asked);
  t.ok(server.requests.every(({ texts }) => texts.length <= 10));
});

t.test('one question over the limit is unusable, its neighbours are not', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  server.maxCharacters = 200;
  const questions = [...numbered(20), 'x'.repeat(201), ...numbered(20)];
  const verdicts = await embedQuestions(embedding, questions, quickly);
  t.match(verdicts[20], { kind: 'unusable', message: /maximum context length is 200/ });
  t.equal(verdicts.filter(({ kind }) => kind === 'vector').length, 40);
  const [alone] = await embedQuestions(embedding, ['x'.repeat(201)], quickly);
  t.match(alone, { kind: 'unusable' });
});

t.test('a server that refuses everything has failed; the questions are not bad', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  server.respond(() => refusal(400, 'The model does not support Embeddings API'));
  server.requests.length = 0;
  const verdicts = await embedQuestions(embedding, numbered(20), quickly);
  t.ok(verdicts.every((verdict) => verdict.kind === 'failed' && verdict.class === 'rejected'));
  t.equal(server.requests.length, 2, 'a batch and a harmless text');
});

t.test('vectors without a direction are unusable, where the server makes others', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  server.respond(({ texts }) => ({
    kind: 'items',
    bend: (items) =>
      items.map((item, index) => {
        if (texts[index] === 'nan') return { ...item, embedding: new Array(64).fill(null) };
        return texts[index] === 'zero' ? { ...item, embedding: new Array(64).fill(0) } : item;
      }),
  }));
  const verdicts = await embedQuestions(embedding, ['one', 'nan', 'two', 'zero'], quickly);
  t.same(
    verdicts.map(({ kind }) => kind),
    ['vector', 'unusable', 'vector', 'unusable'],
  );
  server.respond(() => ({
    kind: 'items',
    bend: (items) => items.map((item) => ({ ...item, embedding: new Array(64).fill(null) })),
  }));
  const [broken] = await embedQuestions(embedding, ['one'], quickly);
  t.match(broken, { kind: 'failed', class: 'server' }, 'an engine that gives nothing else is broken');
});

t.test('a server in trouble fails all questions, of its class, and is not asked for each', async (t) => {
  const troubles = [
    [refusal(500, 'boom'), 'server'],
    [refusal(502, 'bad gateway'), 'unreachable'],
    [{ kind: 'reset' }, 'unreachable'],
    [{ kind: 'cut' }, 'server'],
    [{ kind: 'text', text: '<html>' }, 'server'],
    [{ kind: 'hang' }, 'timeout'],
    [refusal(401, 'wrong key'), 'rejected'],
    [refusal(404, 'The model `words` does not exist.'), 'rejected'],
    [{ kind: 'status', status: 429, headers: { 'retry-after': '60' } }, 'server'],
    [{ kind: 'items', bend: () => [] }, 'server'],
    [
      { kind: 'items', bend: (items: object[]) => items.map((item) => ({ ...item, embedding: [1, 2] })) },
      'server',
    ],
  ] as const;
  for (const [behaviour, expected] of troubles) {
    const { server, embedder } = await embedderFixture(t);
    const embedding = await embedder();
    server.respond(() => behaviour);
    server.requests.length = 0;
    const timeoutMs = behaviour.kind === 'hang' ? 50 : 30_000;
    const verdicts = await embedQuestions(embedding, numbered(30), { timeoutMs });
    const classes = new Set(verdicts.map((verdict) => verdict.kind === 'failed' && verdict.class));
    t.same([...classes], [expected], JSON.stringify(behaviour));
    t.ok(server.requests.length <= 2, `${server.requests.length} requests`);
  }
});

t.test('an address where nobody listens is unreachable', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  await server.refuse();
  const [verdict] = await embedQuestions(embedding, ['ice'], quickly);
  t.match(verdict, { kind: 'failed', class: 'unreachable', message: /cannot be reached/ });
});

t.test('one text that the server dies on again and again costs its neighbours nothing', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  server.respond(({ texts }) => (texts.includes('poison') ? refusal(500, 'boom') : null));
  const vectors = await embedding.embedDocuments(numbered(3), quickly);
  t.equal(vectors.length, 3);
  const verdicts = await embedQuestions(embedding, ['ice', 'poison', 'flour'], quickly);
  t.same(
    verdicts.map(({ kind }) => kind),
    ['vector', 'failed', 'vector'],
  );
});

t.test('a pause that the server asks for is kept, if the time allows it', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  let refused = 0;
  server.respond(() => {
    refused += 1;
    return refused === 1 ? { kind: 'status', status: 503, headers: { 'retry-after': '1' } } : null;
  });
  const startMs = performance.now();
  const [verdict] = await embedQuestions(embedding, ['ice'], quickly);
  t.equal(verdict?.kind, 'vector');
  t.ok(performance.now() - startMs >= 990);
});

t.test('a question ends with its signal', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  const cancelling = new AbortController();
  server.respond(() => {
    cancelling.abort(new Error('no longer wanted'));
    return { kind: 'hang' };
  });
  await t.rejects(embedQuestions(embedding, ['ice'], { signal: cancelling.signal }), {
    message: 'no longer wanted',
  });
});

t.test('a passage over the limit is embedded by its beginning, and that is said', async (t) => {
  const { server, embedder, lines } = await embedderFixture(t);
  const embedding = await embedder();
  server.maxCharacters = 300;
  const long = 'lighthouse keeper lens '.repeat(40);
  const [before, cut, after] = await embedding.embedDocuments(['moving ice', long, 'flour and water']);
  t.strictSame([before, after], [server.vectorOf('moving ice'), server.vectorOf('flour and water')]);
  t.same(cut?.length, 64);
  t.match(
    lines.find(({ msg }) => msg.includes('only their beginnings')),
    { level: 40, passages: 1, shortest: 220 },
  );
  server.requests.length = 0;
  await embedding.embedDocuments(numbered(10).map((text) => `${text} ${long}`));
  const isRefused = ({ texts }: { texts: readonly string[] }) => texts.some((text) => text.length > 300);
  t.equal(
    server.requests.filter((request) => !isRefused(request)).length,
    2,
    'the cut ones go together, and a harmless text',
  );
});

t.test('a passage of which no part is taken ends the build', async (t) => {
  const { server, embedder } = await embedderFixture(t);
  const embedding = await embedder();
  server.respond(({ texts }) =>
    texts.some((text) => text.startsWith('poison')) ? refusal(400, 'no') : null,
  );
  await rejectsAs(t, embedding.embedDocuments(['fine', `poison ${'x'.repeat(500)}`]), {
    code: 'embedder_failed',
    class: 'rejected',
    message: /no part of the passage that begins with "poison/ as unknown as string,
  });
});

t.test('a build waits for a server in trouble, and goes on where it was', async (t) => {
  const { server, embedder, lines } = await embedderFixture(t);
  const embedding = await embedder({ ...patient, EMBEDDING_BATCH_SIZE: '5' });
  const troubles = [
    refusal(500, 'boom'),
    refusal(503, 'loading model'),
    { kind: 'reset' },
    { kind: 'cut' },
  ] as const;
  let calls = 0;
  server.respond(() => troubles[calls++] ?? null);
  const texts = numbered(20);
  t.strictSame(
    await embedding.embedDocuments(texts),
    texts.map((text) => server.vectorOf(text)),
  );
  t.ok(lines.some(({ msg }) => msg === 'waiting for the embedder'));
});

t.test('a start waits for a server that is not there yet', async (t) => {
  const { server, open } = await embedderFixture(t);
  await server.refuse();
  const survey = surveyCorpus(smallCorpus(), open(patient).embedding, new AbortController().signal);
  await server.accept();
  t.match(await survey, { chunkCount: 5, index: { space: 'cosine' } });
});

t.test('a start that waited in vain, and one that need not wait, are told apart', async (t) => {
  const { server, open } = await embedderFixture(t);
  const start = () => surveyCorpus(smallCorpus(), open(impatient).embedding, new AbortController().signal);
  server.respond(() => ({ kind: 'status', status: 503 }));
  await rejectsAs(t, start(), { code: 'embedder_unavailable', isCurable: true });
  server.respond(() => refusal(401, 'wrong key'));
  await rejectsAs(t, surveyCorpus(smallCorpus(), open(patient).embedding, new AbortController().signal), {
    code: 'embedder_failed',
    isCurable: false,
  });
});

t.test('the fingerprint stays over noise, and changes with all that changes vectors', async (t) => {
  const { server, open, lines } = await embedderFixture(t);
  const fingerprint = async (changes: Record<string, string> = {}) => {
    const { embedding, close } = open(changes);
    const { fingerprint: print } = await embedding.createEmbedder(smallCorpus().chunks());
    await close();
    return print;
  };
  const first = await fingerprint();
  server.noise = 2e-3;
  for (let start = 0; start < 5; start++) t.equal(await fingerprint(), first, 'noise, as GPUs make it');
  server.noise = 0;
  t.equal(await fingerprint({ EMBEDDING_BATCH_SIZE: '1' }), first, 'what changes no vector');
  const prints = [first, await fingerprint({ EMBEDDING_QUERY_PREFIX: 'q: ' })];
  prints.push(await fingerprint({ EMBEDDING_DOCUMENT_PREFIX: 'q: ' }));
  prints.push(await fingerprint({ EMBEDDING_MODEL: 'other' }));
  server.model = 'words-2';
  prints.push(await fingerprint());
  server.model = 'words-1';
  server.seed = 2;
  prints.push(await fingerprint());
  server.seed = 1;
  server.dimensions = 128;
  prints.push(await fingerprint());
  t.equal(new Set(prints).size, prints.length, 'all different');
  server.dimensions = 64;
  t.equal(await fingerprint(), first, 'back to the first');
  t.same(
    lines.filter(({ level }) => level > 30),
    [],
  );
});

t.test('a server that is known for its exact numbers is known without the file', async (t) => {
  const { embedder } = await embedderFixture(t);
  const { fingerprint } = await embedder();
  const empty = `${t.testdirName}/elsewhere`;
  mkdirSync(empty);
  t.equal((await embedder({ DATA_DIR: empty })).fingerprint, fingerprint);
});

t.test('vectors of another model are never taken for those of the first', async (t) => {
  for (const change of ['restart', 'name'] as const) {
    const { server, embedder } = await embedderFixture(t);
    const embedding = await embedder();
    server.seed = 2;
    if (change === 'name') server.model = 'words-2';
    else {
      await server.refuse();
      await embedQuestions(embedding, ['ice'], quickly);
      await server.accept();
    }
    const [verdict] = await embedQuestions(embedding, ['ice'], quickly);
    t.match(verdict, { kind: 'failed', class: 'server', message: /other vectors now/ }, change);
    server.seed = 1;
    t.match(await embedQuestions(embedding, ['ice'], quickly), [{ kind: 'vector' }], 'the first one is back');
    server.requests.length = 0;
    await embedQuestions(embedding, ['ice'], quickly);
    t.equal(server.requests.length, 1, 'and trusted again');
  }
});
