// Loaded before the service's own code (node --import), in its process, in its threads and in its children: patches
// prototypes so that the process kills itself at a named point. The product knows nothing of it.

import { DatabaseSync } from 'node:sqlite';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { BLOCK_SIGNAL, type ChaosOrders, ORDERS_VARIABLE } from './kill-order.ts';

type Kill = NonNullable<ChaosOrders['kill']>;
interface Instant {
  readonly passage: number;
  readonly when: 'before' | 'during' | 'after';
  readonly withinMicroseconds?: number;
}
type Method = (...values: never[]) => unknown;

const orders: ChaosOrders = JSON.parse(process.env[ORDERS_VARIABLE] ?? '{}');

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal is delivered before anything else runs; this only says so to the type checker.
  for (;;);
}

async function arm(kill: Kill): Promise<void> {
  if (kill.at === 'upload' && isMainThread) {
    const { Upload } = await import('../../src/scheduler/upload.ts');
    before(Upload.prototype, kill.method, passing(kill.passage));
  } else if (kill.at === 'record' && isMainThread) {
    const { RecordWriter } = await import('../../src/scheduler/record-writer.ts');
    before(RecordWriter.prototype, kill.method, passing(kill.passage));
  } else if (kill.at === 'commit' && isWritingThread()) {
    await aroundCommitOf(kill.of, kill, false);
  } else if (kill.at === 'checkpoint' && isWritingThread()) {
    await aroundCommitOf(kill.of, { ...kill, when: 'after' }, true);
  } else if (kill.at === 'statement' && !isGenerationThread()) {
    const { holding } = kill;
    aroundExec((sql) => sql.includes(holding), kill);
  }
}

/** Kills at the given passage. */
function passing(passage: number): () => void {
  let left = passage;
  return () => {
    left -= 1;
    if (left === 0) die();
  };
}

/** The point is the COMMIT of the transaction in which the operation ran. */
async function aroundCommitOf(
  method: Extract<Kill, { at: 'commit' }>['of'],
  kill: Instant & { later?: number },
  isCheckpoint: boolean,
): Promise<void> {
  const { SqliteWriter } = await import('../../src/store/sqlite-writer.ts');
  /** Commits until the one meant; null: the operation has not run since the last one meant. */
  let left: number | null = null;
  before(SqliteWriter.prototype, method, () => {
    left ??= kill.later ?? 0;
  });
  const isIt = (sql: string) => {
    if (sql !== 'COMMIT' || left === null) return false;
    left -= 1;
    if (left >= 0) return false;
    left = null;
    return true;
  };
  if (isCheckpoint) checkpointAfter(isIt, kill);
  else aroundExec(isIt, kill);
}

function aroundExec(isIt: (sql: string) => boolean, kill: Instant): void {
  const { exec } = DatabaseSync.prototype;
  const killer = kill.when === 'during' ? new Killer(kill.withinMicroseconds ?? 1_000) : null;
  let left = kill.passage;
  DatabaseSync.prototype.exec = function patched(this: DatabaseSync, sql: string) {
    const isNow = isIt(sql) && --left === 0;
    if (!isNow) return exec.call(this, sql);
    if (kill.when === 'before') die();
    killer?.start();
    exec.call(this, sql);
    die();
  };
}

function checkpointAfter(
  isIt: (sql: string) => boolean,
  kill: { passage: number; withinMicroseconds?: number },
): void {
  const { exec } = DatabaseSync.prototype;
  const killer = new Killer(kill.withinMicroseconds ?? 1_000);
  let left = kill.passage;
  DatabaseSync.prototype.exec = function patched(this: DatabaseSync, sql: string) {
    const isNow = isIt(sql) && --left === 0;
    exec.call(this, sql);
    if (!isNow) return;
    killer.start();
    exec.call(this, 'PRAGMA wal_checkpoint(TRUNCATE)');
    die();
  };
}

/** A thread that kills the process at a random instant after start(), whatever this thread is doing then. */
class Killer {
  readonly #flag = new Int32Array(new SharedArrayBuffer(4));

  constructor(withinMicroseconds: number) {
    const code = `
      const { workerData } = require('node:worker_threads');
      Atomics.wait(workerData.flag, 0, 0);
      const until = process.hrtime.bigint() + BigInt(Math.floor(Math.random() * workerData.within * 1000));
      while (process.hrtime.bigint() < until);
      process.kill(process.pid, 'SIGKILL');`;
    const worker = new Worker(code, {
      eval: true,
      execArgv: [],
      workerData: { flag: this.#flag, within: withinMicroseconds },
    });
    worker.unref();
  }

  start(): void {
    Atomics.store(this.#flag, 0, 1);
    Atomics.notify(this.#flag, 0);
  }
}

async function poisonQuestions(text: string): Promise<void> {
  // Generations run in threads of the service and in the child process of suspects; the writing thread makes none.
  if (isWritingThread()) return;
  const { ModelServerClient } = await import('../../src/model-server/model-server-client.ts');
  const { chatCompletion } = ModelServerClient.prototype;
  ModelServerClient.prototype.chatCompletion = function patched(...values) {
    if (JSON.stringify(values[0].body).includes(text)) die();
    return chatCompletion.apply(this, values);
  };
}

function blockOnSignal(durationMs: number): void {
  process.on(BLOCK_SIGNAL, () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
  });
}

function before<T extends object>(prototype: T, name: keyof T, act: () => void): void {
  const original = prototype[name] as Method;
  prototype[name] = function patched(this: T, ...values: never[]) {
    act();
    return original.apply(this, values);
  } as T[keyof T];
}

function isWritingThread(): boolean {
  return !isMainThread && typeof workerData?.path === 'string';
}

function isGenerationThread(): boolean {
  return !isMainThread && !isWritingThread();
}

if (isMainThread && orders.blockMs !== undefined) blockOnSignal(orders.blockMs);
if (orders.poison !== undefined) await poisonQuestions(orders.poison);
if (orders.kill !== undefined) await arm(orders.kill);
