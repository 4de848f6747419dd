// The running service on a public question set: how often the right paragraph is among the documents of a result, and
// first; how often the embedded model's answer holds an accepted one; how fast, and how early the first result comes.
//
//   npm run bench:service [folder with documents.jsonl and questions.jsonl]

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ServiceProcess } from '../src/cli/service-process.ts';

interface Question {
  readonly custom_id: string;
  readonly document_id: string;
  readonly answers: readonly string[];
}

interface Result {
  readonly custom_id: string;
  readonly status: string;
  readonly answer: string | null;
  readonly rag: { readonly status: string; readonly documents: readonly { readonly id: string }[] };
}

interface Progress {
  readonly request_counts: { readonly total: number; readonly completed: number };
}

/** Most that an answer may be, or quoting whole passages would count as answering. */
const ANSWER_CHARACTERS = 400;

const folder = resolve(process.argv[2] ?? fileURLToPath(new URL('../../shared/data/xquad', import.meta.url)));
if (!existsSync(join(folder, 'questions.jsonl'))) {
  console.error(
    `There is no question set in ${folder}: name a folder with documents.jsonl and questions.jsonl.`,
  );
  process.exit(2);
}
const input = readFileSync(join(folder, 'questions.jsonl'), 'utf8');
const questions = new Map<string, Question>(
  input
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Question)
    .map((question) => [question.custom_id, question]),
);

const service = new ServiceProcess({ EMBEDDED_MODEL: 'on', CORPUS_PATH: join(folder, 'documents.jsonl') });
try {
  await service.ready(() => {});
  const startedAtMs = performance.now();
  const headers = { 'content-type': 'application/x-ndjson' };
  const upload = await fetch(`${service.url}/batches`, { method: 'POST', headers, body: input });
  const { id } = (await upload.json()) as { id: string };
  const stream = await fetch(`${service.url}/batches/${id}/results`);
  if (!stream.body) throw new Error(`no results: ${stream.status}`);
  const results: Result[] = [];
  let doneAtFirst = 0;
  for await (const line of createInterface({ input: Readable.fromWeb(stream.body) })) {
    if (results.length === 0) {
      const batch = (await (await fetch(`${service.url}/batches/${id}`)).json()) as Progress;
      doneAtFirst = batch.request_counts.completed / batch.request_counts.total;
    }
    results.push(JSON.parse(line) as Result);
  }
  report(results, doneAtFirst, (performance.now() - startedAtMs) / 1000);
} finally {
  await service.stop();
}

function report(results: readonly Result[], doneAtFirst: number, seconds: number): void {
  const share = (is: (result: Result, question: Question) => boolean) => {
    const hits = results.filter((result) => {
      const question = questions.get(result.custom_id);
      return question !== undefined && is(result, question);
    });
    return (hits.length / questions.size).toFixed(4);
  };
  const rows = [
    [
      'lines',
      `${results.length} of ${questions.size}, each once: ${new Set(results.map((r) => r.custom_id)).size === questions.size}`,
    ],
    ['succeeded', share((result) => result.status === 'succeeded')],
    ['without context (soft failures)', share((result) => result.rag.status === 'soft_failure')],
    [
      'right paragraph first',
      share((result, { document_id }) => result.rag.documents[0]?.id === document_id),
    ],
    [
      'right paragraph among the documents',
      share((result, { document_id }) => result.rag.documents.some(({ id }) => id === document_id)),
    ],
    ['answer holds an accepted one', share((result, { answers }) => holds(result.answer ?? '', answers))],
    ['done when the first result was read', doneAtFirst.toFixed(4)],
    ['seconds from upload to the last result', seconds.toFixed(1)],
    ['lines per second', (results.length / seconds).toFixed(0)],
  ];
  for (const [name = '', value] of rows) console.log(`${name.padEnd(40)} ${value}`);
}

function holds(answer: string, accepted: readonly string[]): boolean {
  const text = answer.toLowerCase();
  return answer.length <= ANSWER_CHARACTERS && accepted.some((one) => text.includes(one.toLowerCase()));
}
