// What must hold of a batch's result log, wherever it was read from.

import { strict as assert } from 'node:assert';
import type { CountingModelServer } from './counting-model-server.ts';
import type { KnownBatch, ParsedRecord } from './known-batch.ts';

/** The current record of each line that has one: its last success, else its last record. */
export type CurrentRecords = ReadonlyMap<number, ParsedRecord>;

/**
 * Compares with what was published before, remembers what is new, and checks every new record.
 * I1, I3: what was published stands, byte by byte. I8: answers belong to their questions. Seqs have no gap.
 */
export function checkLog(
  batch: KnownBatch,
  bodies: readonly string[],
  server: CountingModelServer,
): CurrentRecords {
  const { published } = batch;
  assert.ok(
    bodies.length >= published.length,
    `${batch.id}: ${published.length} records were published, ${bodies.length} are left`,
  );
  const current = new Map<number, ParsedRecord>();
  let inRun = new Set<number>();
  for (const [index, body] of bodies.entries()) {
    if (index < published.length) {
      assert.equal(body, published[index], `${batch.id}: record ${index + 1} has changed`);
    }
    if (batch.runEnds.has(index)) inRun = new Set();
    const record = JSON.parse(body) as ParsedRecord;
    assert.equal(record.seq, index + 1, `${batch.id}: a gap in the seqs`);
    const isTwice = inRun.has(record.line) && !batch.hasUnseenRunEnd;
    assert.ok(!isTwice, `${batch.id}: line ${record.line} has two records in one run`);
    inRun.add(record.line);
    const earlier = current.get(record.line);
    const isCurrent = earlier?.status !== 'succeeded' || record.status === 'succeeded';
    const replaced = isCurrent ? earlier?.seq : undefined;
    assert.equal(record.replaces, replaced, `${batch.id}: what record ${record.seq} replaces`);
    if (index >= published.length) {
      checkRecord(batch, record, server);
      published.push(body);
    }
    if (isCurrent) current.set(record.line, record);
  }
  return current;
}

function checkRecord(batch: KnownBatch, record: ParsedRecord, server: CountingModelServer): void {
  const line = batch.lines[record.line - 1];
  assert.ok(line, `${batch.id}: there is no line ${record.line}`);
  const what = `${batch.id}, line ${record.line}: ${JSON.stringify(record)}`;
  if (line.isGood) assert.equal(record.custom_id, line.customId, what);
  else assert.notEqual(record.status, 'succeeded', what);
  if (record.status === 'succeeded') {
    const answer = record.answer ?? '';
    assert.ok(answer.startsWith(`[[${line.mark}]] `), `an answer to another question: ${what}`);
    assert.ok(server.hasAnswered(line.mark, answer), `an answer that was never given: ${what}`);
    assert.equal(record.error, null, what);
  } else {
    assert.equal(record.answer, null, what);
    assert.notEqual(record.error, null, what);
    assert.notEqual(record.error?.code, 'internal_error', what);
  }
}
