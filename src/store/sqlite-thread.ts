// The writing thread: takes operations from the main thread, runs all that have piled up in one transaction,
// and answers each after the commit. While one group is synced to disk the next one gathers: group commit.

import type { DatabaseSync } from 'node:sqlite';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { type StoreFailure, toOpenFailure, toStoreFailure } from './sqlite-failures.ts';
import { SqliteHeartbeat } from './sqlite-heartbeat.ts';
import { openForWriting } from './sqlite-schema.ts';
import { SqliteSweeper } from './sqlite-sweeper.ts';
import { SqliteWriter } from './sqlite-writer.ts';

/** The operations of SqliteWriter that may be called from outside. */
export type WriterMethod = Exclude<keyof SqliteWriter, 'recover' | 'renewHeldLeases'>;

export interface WriterCall {
  readonly id: number;
  readonly method: WriterMethod;
  readonly values: readonly unknown[];
}

export type WriterAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: StoreFailure };

/** No further messages are taken into a transaction of so many operations: the first of them waits for its answer. */
const GROUP_MAX = 512;

/** Operations after which there is something to remove. */
const DELETIONS: readonly WriterMethod[] = [
  'abandonUpload',
  'abandonFile',
  'deleteBatch',
  'deleteFile',
  'expireFiles',
  'restartValidation',
  'failValidation',
  'requestCancel',
];

/** Operations that must not be lost when they fail, for nobody asks for them again. */
const ABANDONMENTS: readonly WriterMethod[] = ['abandonUpload', 'abandonFile'];

function runGroup(
  database: DatabaseSync,
  writer: SqliteWriter,
  calls: readonly WriterCall[],
): WriterAnswer[] {
  const answers: WriterAnswer[] = [];
  try {
    database.exec('BEGIN IMMEDIATE');
    for (const call of calls) answers.push(runOne(database, writer, call));
    database.exec('COMMIT');
    return answers;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    return calls.map((call) => ({ id: call.id, error: toFailure(error) }));
  }
}

/** One operation in a savepoint of its own: its failure costs its neighbours nothing. */
function runOne(database: DatabaseSync, writer: SqliteWriter, call: WriterCall): WriterAnswer {
  database.exec('SAVEPOINT operation');
  try {
    // The facade is the only sender and is typed by WriterMethod and its parameters.
    const method = writer[call.method] as (...values: unknown[]) => unknown;
    const value = method.apply(writer, [...call.values]);
    database.exec('RELEASE operation');
    return { id: call.id, value };
  } catch (error) {
    const failure = toFailure(error);
    // A full disk may have ended the whole transaction already, and a damaged file takes nothing: then the group
    // fails together.
    if (!database.isTransaction || failure.code === 'store_corrupt') throw error;
    database.exec('ROLLBACK TO operation');
    database.exec('RELEASE operation');
    return { id: call.id, error: failure };
  }
}

function toFailure(error: unknown): StoreFailure {
  return toStoreFailure(error, workerData.path);
}

/** So that an empty log means a clean stop; while somebody reads (a backup), the next start merges it. */
function leaveLogEmpty(database: DatabaseSync): void {
  try {
    database.exec('PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE)');
  } catch {
    // A full disk: everything is in the log.
  }
}

function serve(port: MessagePort): void {
  let database: DatabaseSync;
  let writer: SqliteWriter;
  try {
    database = openForWriting(workerData.path);
    writer = new SqliteWriter(database);
    database.exec('BEGIN IMMEDIATE');
    writer.recover();
    database.exec('COMMIT');
  } catch (error) {
    port.postMessage([{ id: 0, error: toOpenFailure(error, workerData.path) }] satisfies WriterAnswer[]);
    port.close();
    return;
  }
  port.postMessage([{ id: 0, value: null }] satisfies WriterAnswer[]);
  const sweeper = new SqliteSweeper(database, (uploadId) => {
    writer.abandonUpload(uploadId);
    writer.abandonFile(uploadId);
  });
  sweeper.wake();
  const heartbeat = new SqliteHeartbeat((nowMs, leaseMs) => {
    if (!database.isTransaction) writer.renewHeldLeases(nowMs, leaseMs);
  });

  port.on('message', (first: readonly WriterCall[] | 'close') => {
    const calls: WriterCall[] = [];
    let next: readonly WriterCall[] | 'close' | undefined = first;
    let isDamaged = false;
    while (next !== undefined && next !== 'close') {
      calls.push(...next);
      next = calls.length < GROUP_MAX ? receiveMessageOnPort(port)?.message : undefined;
    }
    for (const { method, values } of calls) {
      if (method === 'renewLeases') heartbeat.hear(Number(values[1]), Number(values[2]));
    }
    if (calls.length > 0) {
      const answers = runGroup(database, writer, calls);
      port.postMessage(answers);
      for (const [index, answer] of answers.entries()) {
        if (!('error' in answer)) continue;
        isDamaged ||= answer.error.code === 'store_corrupt';
        const call = calls[index];
        if (call && ABANDONMENTS.includes(call.method)) sweeper.abandonLater(String(call.values[0]));
      }
      if (calls.some((call) => DELETIONS.includes(call.method))) sweeper.wake();
    }
    if (next !== 'close' && !isDamaged) return;
    heartbeat.stop();
    if (!isDamaged) leaveLogEmpty(database);
    database.close();
    port.close();
  });
}

if (parentPort) serve(parentPort);
