// A public question set through the whole service with everything embedded: what retrieval and the extractive model
// must at least achieve. The set is no part of the project; without it this test is skipped.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { startService } from '../fakes/running-service.ts';

interface Question {
  readonly custom_id: string;
  readonly document_id: string;
  readonly answers: readonly string[];
}

const folder =
  process.env.QUESTION_SET ?? fileURLToPath(new URL('../../../shared/data/xquad', import.meta.url));
const skip = existsSync(folder) ? false : `no question set in ${folder} (QUESTION_SET names another folder)`;

t.test(
  '1190 questions: the right paragraph is found, and the answer stands in what is quoted',
  { skip },
  async (t) => {
    const lines = readFileSync(`${folder}/questions.jsonl`, 'utf8').trim();
    const service = await startService(t, { EMBEDDED_MODEL: 'on', CORPUS_PATH: `${folder}/documents.jsonl` });
    const { id } = await service.upload(lines);
    const results = new Map((await service.allResults(id)).map((result) => [result.custom_id, result]));
    const questions = lines.split('\n').map((line) => JSON.parse(line) as Question);
    t.equal(results.size, questions.length, 'every custom_id exactly once');
    let [first, found, answered, succeeded] = [0, 0, 0, 0];
    for (const question of questions) {
      const result = results.get(question.custom_id);
      const documents = result?.rag?.documents.map((document) => document.id) ?? [];
      const answer = result?.answer?.toLowerCase() ?? '';
      if (documents[0] === question.document_id) first += 1;
      if (documents.includes(question.document_id)) found += 1;
      if (result?.status === 'succeeded') succeeded += 1;
      if (answer.length <= 400 && question.answers.some((one) => answer.includes(one.toLowerCase())))
        answered += 1;
    }
    const share = (count: number) => count / questions.length;
    t.equal(succeeded, questions.length);
    t.ok(share(found) >= 0.965, `the right paragraph is among the documents for ${share(found)}`);
    t.ok(share(first) >= 0.88, `and first for ${share(first)}`);
    t.ok(share(answered) >= 0.78, `an accepted answer stands in ${share(answered)}`);
  },
);
