// npm run demo: the main job on a fresh machine. Starts the service with everything embedded, uploads questions about
// ragmill, shows the answers with their sources as they stream, and sums up.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import { chatModels } from '../model-server/embedding-models.ts';
import { type DemoResult, DemoScreen } from './demo-screen.ts';
import { ServiceProcess } from './service-process.ts';

const QUESTIONS = new URL('../../examples/questions.jsonl', import.meta.url);
const LOCAL_MODEL_SERVER = 'http://127.0.0.1:11434';
/** Questions for a real model, which may need seconds for each. */
const FEW = 8;
const LOOK_TIMEOUT_MS = 1_500;
/** How often the demo looks whether anything is in the way. */
const WATCH_INTERVAL_MS = 3_000;

const USAGE = `npm run demo [-- options]
  --keep      leave the service running
  --all       ask all questions, also where a real model answers them
  --embedded  use the built-in extractive model even if a model server answers on port 11434`;

interface DemoOptions {
  readonly keep: boolean;
  readonly all: boolean;
  readonly embedded: boolean;
}

interface Summary {
  readonly succeeded: number;
  readonly failed: number;
  readonly softFailures: number;
  readonly seconds: number;
}

function readOptions(): DemoOptions {
  const option = { type: 'boolean', default: false } as const;
  try {
    const { values } = parseArgs({ options: { keep: option, all: option, embedded: option, help: option } });
    if (!values.help) return values;
    console.log(USAGE);
    process.exit(0);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exit(2);
  }
}

/** The chat models of a server on Ollama's port, or null when it has none or nothing like one answers. */
async function findModelServer(): Promise<string[] | null> {
  try {
    const answer = await fetch(`${LOCAL_MODEL_SERVER}/v1/models`, {
      signal: AbortSignal.timeout(LOOK_TIMEOUT_MS),
    });
    const { data } = (await answer.json()) as { data: { id: string }[] };
    const models = chatModels(data.map((model) => model.id));
    return answer.ok && models.length > 0 ? models : null;
  } catch {
    return null;
  }
}

async function upload(url: string, lines: readonly string[]): Promise<string> {
  const answer = await fetch(`${url}/batches`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines.join('\n'),
  });
  const body = (await answer.json()) as { id: string; detail?: string };
  if (!answer.ok) throw new Error(`the upload was refused: ${body.detail}`);
  return body.id;
}

/** Shows the results as they come. */
async function follow(
  service: ServiceProcess,
  batchId: string,
  lines: readonly string[],
  screen: DemoScreen,
): Promise<Summary> {
  const questions = new Map(
    lines.map((line) => JSON.parse(line)).map((line) => [line.custom_id, line.query]),
  );
  const startedAtMs = performance.now();
  const answer = await fetch(`${service.url}/batches/${batchId}/results`);
  if (!answer.ok || !answer.body) throw new Error(`the results could not be read: ${answer.status}`);
  const counts = { succeeded: 0, failed: 0, softFailures: 0 };
  let seconds = 0;
  for await (const line of createInterface({ input: Readable.fromWeb(answer.body) })) {
    const result = JSON.parse(line) as DemoResult;
    counts[result.status === 'succeeded' ? 'succeeded' : 'failed'] += 1;
    if (result.rag?.status === 'soft_failure') counts.softFailures += 1;
    seconds = (performance.now() - startedAtMs) / 1000;
    screen.result(questions.get(result.custom_id) ?? '', result);
    const done = counts.succeeded + counts.failed;
    screen.progress(done, lines.length, done / seconds);
  }
  return { ...counts, seconds };
}

function sumUp(summary: Summary, screen: DemoScreen): void {
  const total = summary.succeeded + summary.failed;
  screen.say(`
${total} lines in ${summary.seconds.toFixed(1)} s (${(total / summary.seconds).toFixed(1)} lines/s): ${summary.succeeded} succeeded, ${summary.failed} failed.
${summary.softFailures} soft failures${summary.softFailures > 0 ? ': no context was found, so the question went to the model alone' : ''}.`);
}

function sayHowToGoOn(service: ServiceProcess, isKept: boolean, screen: DemoScreen): void {
  const batches = `${isKept ? service.url : 'http://127.0.0.1:8080'}/batches`;
  screen.say(
    isKept
      ? `
The service runs on: ${service.url} (API: ${service.url}/docs, log: ${service.logPath})
Stop it with: kill ${service.pid}   then remove ${service.folder}`
      : `
How to go on:
  CORPUS_PATH=<your folder> npm start     with your documents and your model servers on the ports from 11434
  EMBEDDED_MODEL=on npm start             without a model server`,
  );
  screen.say(`  curl -X POST -H 'content-type: application/x-ndjson' --data-binary @examples/questions.jsonl ${batches}
  curl -N ${batches}/<id>/results`);
}

async function run(options: DemoOptions, screen: DemoScreen): Promise<number> {
  const models = options.embedded ? null : await findModelServer();
  const all = readFileSync(QUESTIONS, 'utf8').split('\n').filter(Boolean);
  const lines = models && !options.all ? all.slice(0, FEW) : all;
  screen.say(
    models
      ? `A model server answers on port 11434 (${models.join(', ')}): it is used. --embedded would ignore it.`
      : 'The built-in extractive model answers: it quotes the sentences that fit best and writes none of its own.',
  );
  const settings = models ? { GPU_ENDPOINTS: LOCAL_MODEL_SERVER } : { EMBEDDED_MODEL: 'on' };
  const service = new ServiceProcess(settings, { isOutliving: options.keep });
  stopWithUs(service, screen);
  let isKept = false;
  try {
    await service.ready((reason) => screen.say(`… ${reason}`));
    screen.say(`ready; asking ${lines.length} of ${all.length} questions about ragmill's own documentation`);
    const batchId = await upload(service.url, lines);
    const unwatch = sayWhatItWaitsFor(service, batchId, screen);
    const summary = await follow(service, batchId, lines, screen).finally(unwatch);
    sumUp(summary, screen);
    isKept = options.keep;
    sayHowToGoOn(service, isKept, screen);
    return summary.failed > 0 ? 1 : 0;
  } finally {
    if (isKept) service.release();
    else await service.stop();
  }
}

/** A model server that dies or refuses everything must not look like a slow one. Answers how to end the watch. */
function sayWhatItWaitsFor(service: ServiceProcess, batchId: string, screen: DemoScreen): () => void {
  let told: string | null = null;
  const look = async () => {
    const answer = await fetch(`${service.url}/batches/${batchId}`).catch(() => null);
    if (!answer?.ok) return;
    const { progress } = (await answer.json()) as { progress: { waiting_for: string | null } };
    if (progress.waiting_for !== null && progress.waiting_for !== told) {
      screen.say(
        `… waiting for ${progress.waiting_for}. Ctrl-C ends the demo; --embedded needs no model server.`,
      );
    }
    told = progress.waiting_for;
  };
  const watch = setInterval(() => void look(), WATCH_INTERVAL_MS);
  return () => clearInterval(watch);
}

/** Ctrl-C, or a reader of our output that has had enough, leaves nothing running and nothing lying about. */
function stopWithUs(service: ServiceProcess, screen: DemoScreen): void {
  const stop = (exitCode: number) => void service.stop().then(() => process.exit(exitCode));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      screen.say('\nstopping');
      stop(130);
    });
  }
  // Every write to a closed pipe is an error of its own.
  process.stdout.on('error', () => stop(0));
}

const screen = new DemoScreen(process.stdout);
try {
  process.exit(await run(readOptions(), screen));
} catch (error) {
  screen.say(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
