import t from 'tap';
import type { Passage } from '../../src/domain/passage.ts';
import type { NewRecord } from '../../src/domain/record.ts';
import { failedRecord, succeededRecord, unrunRecord } from '../../src/scheduler/result-record.ts';
import { newStageState } from '../../src/scheduler/stage-state.ts';
import type { Work } from '../../src/scheduler/work.ts';
import { success, work } from '../fakes/work-fixtures.ts';

const FIELDS = [
  'line',
  'custom_id',
  'status',
  'answer',
  'citations',
  'metadata',
  'rag',
  'generation',
  'usage',
  'timings_ms',
  'error',
];
const trace = { endpoint: 'gpu-0', model: 'asked-for', durationMs: 411.6 };
const passage: Passage = {
  documentId: 'd1',
  chunk: 2,
  title: 'Title',
  source: 'a.md',
  text: 'the text itself',
  distance: 0.25,
};

function answered(): Work {
  return {
    ...work(4),
    retrieval: { kind: 'success', attempts: 2, passages: [passage], collectionGeneration: 3 },
    state: { ...newStageState(), attempts: 1 },
    queuedMs: 2.6,
    retrievalMs: 8.2,
  };
}

const bodyOf = (record: NewRecord) => JSON.parse(record.body);

t.test('a success carries the answer, its sources without their text, and what it cost', async (t) => {
  const item = answered();
  const record = succeededRecord(
    { ...item, parsed: { ...item.parsed, metadata: { a: [1, null] } } },
    {
      ...success,
      usage: { promptTokens: 812, completionTokens: 64, cachedTokens: null, reasoningTokens: 9 },
    },
    trace,
  );
  t.match(record, {
    line: 4,
    status: 'succeeded',
    rag: 'success',
    collectionGeneration: 3,
    code: null,
    promptTokens: 812,
    completionTokens: 64,
    cachedTokens: 0,
    reasoningTokens: 9,
    response: null,
  });
  t.strictSame(bodyOf(record), {
    line: 4,
    custom_id: 'q4',
    status: 'succeeded',
    answer: 'forty-two',
    citations: [],
    metadata: { a: [1, null] },
    rag: {
      status: 'success',
      attempts: 2,
      collection_generation: 3,
      documents: [{ id: 'd1', chunk: 2, distance: 0.25, title: 'Title', source: 'a.md' }],
    },
    generation: {
      status: 'success',
      attempts: 1,
      endpoint: 'gpu-0',
      model: 'fake-model',
      finish_reason: 'stop',
    },
    usage: { prompt_tokens: 812, completion_tokens: 64, cached_tokens: null },
    timings_ms: { queued: 3, retrieval: 8, rag: 0, generation: 412 },
    error: null,
  });
});

t.test('only an answer that was cut says so', async (t) => {
  const cut = succeededRecord(answered(), { ...success, finishReason: 'length' }, trace);
  t.equal(bodyOf(cut).truncated, true);
  t.notOk('truncated' in bodyOf(succeededRecord(answered(), success, trace)));
});

t.test('only an answer from a prompt that was cut says so', async (t) => {
  const cut = succeededRecord(answered(), { ...success, isContextTruncated: true }, trace);
  t.equal(bodyOf(cut).generation.context_truncated, true);
  t.notOk('truncated' in bodyOf(cut), 'the answer itself is whole');
  t.notOk('context_truncated' in bodyOf(succeededRecord(answered(), success, trace)).generation);
});

t.test(
  'every ending has the same fields, and starts with its line, where the store puts the seq',
  async (t) => {
    const error = { code: 'generation_failed', message: 'no', stage: 'generation' } as const;
    for (const record of [
      succeededRecord(answered(), success, trace),
      failedRecord(answered(), error, trace),
      failedRecord(work(4), { ...error, stage: 'rag' }, null),
      unrunRecord(
        { batchId: 'b1', line: 4, customId: null, metadata: null },
        { status: 'failed', error: { ...error, stage: 'input' } },
      ),
    ]) {
      t.same(Object.keys(bodyOf(record)), FIELDS);
      t.ok(record.body.startsWith('{"line":4,'));
      t.notOk(record.body.includes('\n'), 'one line');
    }
  },
);

t.test('line breaks and broken surrogates of an answer do not break the log', async (t) => {
  const answer = 'a\nb\r\u2028\u2029\ud800"\\\0';
  const record = succeededRecord(answered(), { ...success, answer }, trace);
  t.notMatch(record.body, /[\n\r]/);
  t.equal(Buffer.from(record.body).toString(), record.body, 'survives as UTF-8');
  t.equal(bodyOf(record).answer, answer);
});

t.test('a failed generation names its endpoint and attempts; a failed retrieval had none', async (t) => {
  const error = { code: 'generation_failed', message: 'it broke', stage: 'generation' } as const;
  const generation = failedRecord(
    { ...answered(), state: { ...newStageState(), attempts: 3 } },
    error,
    trace,
  );
  t.match(generation, { status: 'failed', code: 'generation_failed', rag: 'success', promptTokens: 0 });
  t.match(bodyOf(generation), {
    answer: null,
    usage: null,
    error,
    generation: { status: 'failure', attempts: 3, endpoint: 'gpu-0', model: 'asked-for' },
  });
  const retrieval = { kind: 'hard_failure', attempts: 3, code: 'rag_timeout', message: 'late' } as const;
  const rag = failedRecord(
    { ...work(4), retrieval },
    { code: 'rag_timeout', message: 'late', stage: 'rag' },
    null,
  );
  t.match(rag, { rag: 'hard_failure', collectionGeneration: null, code: 'rag_timeout' });
  t.match(bodyOf(rag), {
    generation: null,
    rag: {
      status: 'hard_failure',
      attempts: 3,
      collection_generation: null,
      documents: [],
      code: 'rag_timeout',
    },
  });
});

t.test('a soft failure is recorded on the answer that was made without context', async (t) => {
  const retrieval = {
    kind: 'soft_failure',
    attempts: 1,
    code: 'nothing_found',
    message: 'nothing',
    collectionGeneration: 5,
  } as const;
  const record = succeededRecord({ ...answered(), retrieval }, success, trace);
  t.match(record, { status: 'succeeded', rag: 'soft_failure', collectionGeneration: 5 });
  t.match(bodyOf(record).rag, { status: 'soft_failure', code: 'nothing_found', documents: [] });
});

t.test('without retrieval there is no rag part', async (t) => {
  const record = succeededRecord(work(4), success, trace);
  t.match(record, { rag: null, collectionGeneration: null });
  t.equal(bodyOf(record).rag, null);
});

t.test('a line that never ran has its error and nothing else', async (t) => {
  const error = { code: 'cancelled', message: 'The batch was cancelled.', stage: 'input' } as const;
  const record = unrunRecord(
    { batchId: 'b1', line: 9, customId: 'q9', metadata: { a: 1 } },
    { status: 'cancelled', error },
  );
  t.match(record, { line: 9, status: 'cancelled', code: 'cancelled', rag: null });
  t.match(bodyOf(record), {
    custom_id: 'q9',
    status: 'cancelled',
    metadata: { a: 1 },
    rag: null,
    generation: null,
    timings_ms: null,
    error,
  });
});
