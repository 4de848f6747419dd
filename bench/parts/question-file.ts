// A file of questions as the programs that a bench compares the service with read it: line by line, each an object.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

interface QuestionLine {
  readonly custom_id: string;
  readonly query: string;
}

export async function* questionsIn(path: string): AsyncGenerator<QuestionLine> {
  for await (const line of createInterface({ input: createReadStream(path) })) {
    yield JSON.parse(line) as QuestionLine;
  }
}
