// The writing thread: takes operations from the main thread, runs all that have piled up in one transaction,
// and answers each after the commit. While one group is synced to disk the next one gathers: group commit.

import type { DatabaseSync } from 'node:sqlite';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { RagmillError } from '../errors.ts';
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

/** An error as it crosses the thread boundary, where classes are lost. */
export interface WriterError {
  readonly code: RagmillError['code'];
  readonly message: string;
}

export type WriterAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: WriterError };

/** Most operations in one transaction: bounds how long the first of a group waits for its answer. */
const GROUP_MAX = 512;

/** Operations after which there is something to remove. */
const DELETIONS: readonly WriterMethod[] = ['abandonUpload', 'deleteBatch'];

/** SQLite's result code for "no space left". Source: sqlite.org/rescode.html#full */
const SQLITE_FULL = 13;

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
    return calls.map((call) => ({ id: call.id, error: toWriterError(error) }));
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
    // A full disk may have ended the whole transaction already: then the group fails together.
    if (!database.isTransaction) throw error;
    database.exec('ROLLBACK TO operation');
    database.exec('RELEASE operation');
    return { id: call.id, error: toWriterError(error) };
  }
}

function toWriterError(error: unknown): WriterError {
  if (error instanceof RagmillError) return { code: error.code, message: error.message };
  const message = error instanceof Error ? error.message : String(error);
  const isFull = error instanceof Error && 'errcode' in error && error.errcode === SQLITE_FULL;
  return isFull
    ? {
        code: 'storage_full',
        message: 'The disk that holds DATA_DIR is full. Free some space; work goes on by itself.',
      }
    : { code: 'internal_error', message };
}

function toOpenError(error: unknown): WriterError {
  const { code, message } = toWriterError(error);
  if (code !== 'internal_error') return { code, message };
  const help = 'Restore a copy of it, or use another DATA_DIR.';
  return { code: 'data_dir_unusable', message: `${workerData.path} cannot be opened: ${message}. ${help}` };
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
    port.postMessage({ id: 0, error: toOpenError(error) } satisfies WriterAnswer);
    port.close();
    return;
  }
  port.postMessage({ id: 0, value: null } satisfies WriterAnswer);
  const sweeper = new SqliteSweeper(database);
  sweeper.wake();
  const heartbeat = new SqliteHeartbeat((nowMs, leaseMs) => {
    if (!database.isTransaction) writer.renewHeldLeases(nowMs, leaseMs);
  });

  port.on('message', (first: WriterCall | 'close') => {
    const calls: WriterCall[] = [];
    let next: WriterCall | 'close' | undefined = first;
    while (next !== undefined && next !== 'close') {
      calls.push(next);
      if (next.method === 'renewLeases') heartbeat.hear(Number(next.values[1]), Number(next.values[2]));
      next = calls.length < GROUP_MAX ? receiveMessageOnPort(port)?.message : undefined;
    }
    if (calls.length > 0) {
      for (const answer of runGroup(database, writer, calls)) port.postMessage(answer);
      if (calls.some((call) => DELETIONS.includes(call.method))) sweeper.wake();
    }
    if (next === 'close') {
      heartbeat.stop();
      database.close();
      port.close();
    }
  });
}

if (parentPort) serve(parentPort);
