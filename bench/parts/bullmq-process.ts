// The same job done by a plain BullMQ worker: every line of a file becomes a job in Redis, a worker with so many jobs at a
// time asks the model, and the answer is kept in Redis as the job's result. Works a file for each path that its parent
// sends, and ends with it. Usage: bullmq-process.ts <model server's URL> <jobs at a time> <Redis port> <BullMQ's entry>

import { pathToFileURL } from 'node:url';
import { ChatCaller } from './chat-caller.ts';
import { questionsIn } from './question-file.ts';

interface Job {
  readonly data: { readonly query: string };
}

/** What is used of it; the package is no dependency. */
interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    addBulk(jobs: readonly { name: string; data: object }[]): Promise<unknown>;
  };
  readonly Worker: new (
    name: string,
    work: (job: Job) => Promise<string>,
    options: object,
  ) => {
    on(event: 'completed' | 'failed' | 'error', listener: (...details: unknown[]) => void): void;
  };
}

const QUEUE = 'lines';
const JOBS_AT_ONCE = 256;

const [url = '', concurrency = '1', port = '', entry = ''] = process.argv.slice(2);
const { Queue, Worker } = (await import(pathToFileURL(entry).href)) as BullMq;
const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
const caller = new ChatCaller({ url, model: 'instant', connections: Number(concurrency) });
const queue = new Queue(QUEUE, { connection });
const worker = new Worker(QUEUE, ({ data }) => caller.ask(data.query), {
  connection,
  concurrency: Number(concurrency),
});
let completed = 0;
let onCompleted = () => {};
worker.on('completed', () => {
  completed += 1;
  onCompleted();
});
for (const event of ['failed', 'error'] as const) {
  worker.on(event, (...details) => {
    throw new Error(`a job ended badly: ${details.map(String).join(', ')}`);
  });
}

async function answerAll(path: string): Promise<number> {
  completed = 0;
  let added = 0;
  let jobs: { name: string; data: object }[] = [];
  for await (const question of questionsIn(path)) {
    jobs.push({ name: 'line', data: question });
    added += 1;
    if (jobs.length < JOBS_AT_ONCE) continue;
    await queue.addBulk(jobs);
    jobs = [];
  }
  if (jobs.length > 0) await queue.addBulk(jobs);
  const { promise, resolve } = Promise.withResolvers<void>();
  onCompleted = () => {
    if (completed === added) resolve();
  };
  onCompleted();
  await promise;
  return completed;
}

process.once('disconnect', () => process.exit());
process.on('message', async (path: string) => process.send?.(await answerAll(path)));
process.send?.('ready');
