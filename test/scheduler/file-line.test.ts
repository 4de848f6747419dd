// Lines of output and error files: OpenAI's format, and the same bytes whenever they are made.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { NewRecord } from '../../src/domain/record.ts';
import { fileLine, type ResultLine } from '../../src/scheduler/file-line.ts';
import { failedRecord, succeededRecord, unrunRecord } from '../../src/scheduler/result-record.ts';
import { newStageState } from '../../src/scheduler/stage-state.ts';
import type { Work } from '../../src/scheduler/work.ts';
import { leasedChunk, success, work } from '../fakes/work-fixtures.ts';

const BATCH = { id: 'batch_00ff', createdAt: 1_790_000_000 };
const trace = { endpoint: 'gpu-0', model: 'm', durationMs: 4 };
const passage = { documentId: 'd', chunk: 0, title: null, source: null, text: 'x', distance: 0.5 };

/** A line with passages, or one for which none were asked. */
function line(isRetrieved = false): Work {
  const item = { ...work(4, { chunk: leasedChunk(BATCH.id) }), state: { ...newStageState(), attempts: 1 } };
  if (!isRetrieved) return item;
  return {
    ...item,
    retrieval: { kind: 'success', attempts: 1, passages: [passage], collectionGeneration: 1 },
  };
}

/** As it is read: from what the store gives back. */
function read({ body, response }: NewRecord, batch = BATCH): string {
  const stored = `{"seq":17,"replaces":3,${body.slice(1)}`;
  return fileLine(JSON.parse(stored) as ResultLine, response, batch);
}

const forwarded = (response: string, answer = '') => ({ ...success, answer, response });

t.test('a question is answered with a chat completion', async (t) => {
  const text = read(succeededRecord(line(), success, trace));
  t.equal(
    text,
    '{"id":"batch_req_00ff_4","custom_id":"q4","response":{"status_code":200,"request_id":"00ff_4","body":' +
      '{"id":"chatcmpl-00ff_4","object":"chat.completion","created":1790000000,"model":"fake-model",' +
      '"choices":[{"index":0,"message":{"role":"assistant","content":"forty-two"},"logprobs":null,"finish_reason":"stop"}],' +
      '"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}},"error":null}\n',
  );
});

t.test('a line with a RAG stage has its sources beside the answer', async (t) => {
  const known = [{ label: 'd#0', documentId: 'd', chunk: 0 }];
  const cited = { ...success, citations: { known, unknown: [] } };
  const ragmill = {
    rag: {
      status: 'success',
      attempts: 1,
      collection_generation: 1,
      documents: [{ id: 'd', chunk: 0, distance: 0.5, title: null, source: null }],
    },
    citations: [{ label: 'd#0', id: 'd', chunk: 0 }],
  };
  const native = JSON.parse(read(succeededRecord(line(true), cited, trace)));
  t.strictSame(native.response.body.ragmill, ragmill);
  for (const [response, expected] of [
    ['{"p": 1.0, "choices":[] }', '{"p": 1.0, "choices":[] ,'],
    ['{}', '{'],
    ['{ }', '{ '],
  ] as const) {
    const text = read(succeededRecord(line(true), { ...cited, response }, trace));
    t.ok(text.includes(`"body":${expected}"ragmill":${JSON.stringify(ragmill)}}},"error":null}\n`), text);
  }
});

t.test('without one the response is what the server said, to the letter', async (t) => {
  const response = '{"id": "x", "big":12345678901234567890,"e":"\\u00e9 é","p":1.0}';
  const record = succeededRecord(line(), forwarded(response), trace);
  t.equal(
    read(record),
    `{"id":"batch_req_00ff_4","custom_id":"q4","response":{"status_code":200,"request_id":"00ff_4","body":${response}},"error":null}\n`,
  );
  t.strictSame(record.response, { status: 200, body: response });
  t.equal(JSON.parse(record.body).answer, null, 'there is no text');
  t.equal(JSON.parse(succeededRecord(line(), forwarded(response, 'yes'), trace).body).answer, 'yes');
});

t.test('what clients take for the end of a line stands in none', async (t) => {
  const ends = 'a\u0085b\u2028c\u2029d';
  const item = line();
  const named = { ...item, parsed: { ...item.parsed, customId: ends } };
  for (const success of [
    forwarded(`{"text":"${ends}"}`),
    { ...forwarded(''), answer: ends, response: null },
  ]) {
    const record = succeededRecord(named, success, trace);
    const text = read(record);
    t.notMatch(text, /[\u0085\u2028\u2029]/);
    t.equal(Buffer.byteLength(text), record.fileBytes);
    const { custom_id, response } = JSON.parse(text);
    t.equal(custom_id, ends);
    t.equal(response.body.text ?? response.body.choices[0].message.content, ends);
  }
});

t.test('a refusal is told as the server has told it', async (t) => {
  const error = { code: 'generation_rejected', message: 'no', stage: 'generation' } as const;
  const refusal = { status: 422, body: '{"error":{"code":1.0}}' };
  for (const isRetrieved of [false, true]) {
    const record = failedRecord(line(isRetrieved), error, trace, refusal);
    t.equal(
      read(record),
      '{"id":"batch_req_00ff_4","custom_id":"q4","response":{"status_code":422,"request_id":"00ff_4","body":{"error":{"code":1.0}}},"error":null}\n',
    );
    t.strictSame(record.response, refusal);
  }
});

t.test('what was not answered has an error', async (t) => {
  const error = { code: 'poison', message: 'It "ends" here.', stage: 'generation' } as const;
  const head = (name: string) => `{"id":"batch_req_00ff_4","custom_id":${name},"response":null,"error":`;
  t.equal(
    read(failedRecord(line(), error, trace)),
    `${head('"q4"')}{"code":"poison","message":"It \\"ends\\" here."}}\n`,
  );
  const unrun = (status: 'failed' | 'cancelled' | 'expired', customId: string | null) =>
    read(unrunRecord({ batchId: BATCH.id, line: 4, customId, metadata: null }, { status, error }));
  t.equal(unrun('failed', null), `${head('null')}{"code":"poison","message":"It \\"ends\\" here."}}\n`);
  t.equal(
    unrun('cancelled', 'a'),
    `${head('"a"')}{"code":"batch_cancelled","message":"It \\"ends\\" here."}}\n`,
  );
  t.equal(
    unrun('expired', 'a'),
    `${head('"a"')}{"code":"batch_expired","message":"This request could not be executed before the completion window expired."}}\n`,
  );
});

const anyText = fc.string({ unit: 'binary' });
const anyWork = fc
  .record({
    isRetrieved: fc.boolean(),
    customId: anyText,
    metadata: fc.jsonValue(),
    text: anyText,
    distance: fc.double(),
  })
  .map(({ isRetrieved, customId, metadata, text, distance }): Work => {
    const item = line(isRetrieved);
    const found = { ...passage, documentId: text, title: text, distance };
    return {
      ...item,
      parsed: { ...item.parsed, customId, metadata },
      retrieval: item.retrieval?.kind === 'success' ? { ...item.retrieval, passages: [found] } : null,
    };
  });
const anyRecord = fc.oneof(
  fc.tuple(anyWork, anyText, fc.option(fc.json())).map(([item, answer, json]) => {
    const response = json === null ? null : JSON.stringify({ choices: json });
    return succeededRecord(item, { ...success, answer, model: answer, response }, trace);
  }),
  fc.tuple(anyWork, anyText, fc.boolean()).map(([item, message, isRefused]) => {
    const error = { code: 'generation_rejected', message, stage: 'generation' } as const;
    return failedRecord(item, error, trace, isRefused ? { status: 400, body: '{"error":{}}' } : null);
  }),
  fc
    .tuple(fc.option(anyText), fc.constantFrom('failed', 'cancelled', 'expired'), anyText)
    .map(([customId, status, message]) =>
      unrunRecord(
        { batchId: BATCH.id, line: 9, customId, metadata: null },
        { status, error: { code: 'x', message, stage: 'input' } },
      ),
    ),
);

t.test('its size is known when the record is made, whenever the batch was', async () => {
  const times = fc.oneof(fc.nat(), fc.constantFrom(0, 1_700_000_000, 9_999_999_999, 10_000_000_000_000));
  fc.assert(
    fc.property(anyRecord, times, (record, createdAt) => {
      const text = read(record, { ...BATCH, createdAt });
      assert.equal(Buffer.byteLength(text), record.fileBytes);
      assert.equal(text.search(/[\n\u0085\u2028\u2029]/), text.length - 1, 'one line');
      const parsed = JSON.parse(text);
      assert.ok((parsed.response === null) !== (parsed.error === null));
    }),
    { numRuns: 1_000 },
  );
});
