// The design that came before the service: so many workers a model server, each with a fixed share of the lines and a fixed
// server, who retrieve and ask on their own. Nobody knows of the others. A worker ends when its server fails it, and so do
// the lines it has not done.

import { ChatCaller } from './chat-caller.ts';
import { MODEL } from './slot-model-bytes.ts';

export interface StaticWorkersOptions {
  readonly urls: readonly string[];
  readonly workersAServer: number;
  /** false: a worker asks one question after the other; true: all its questions at once, as without any window. */
  readonly isAllAtOnce: boolean;
  /** Texts of the passages of a question. */
  readonly retrieve: (question: string) => Promise<readonly string[]>;
}

export interface Worked {
  readonly answers: number;
  /** Unix time of the last answer. */
  readonly lastAnswerAtMs: number;
}

/** Resolves when every worker has ended; `onAnswer` hears the number of answers so far. */
export async function workStatically(
  questions: readonly string[],
  options: StaticWorkersOptions,
  onAnswer: (answers: number) => void,
): Promise<Worked> {
  const { urls, workersAServer, isAllAtOnce } = options;
  const number = urls.length * workersAServer;
  let answers = 0;
  let lastAnswerAtMs = 0;
  const work = async (worker: number) => {
    const own = questions.filter((_question, line) => line % number === worker);
    const connections = isAllAtOnce ? own.length : 1;
    const url = urls[worker % urls.length] ?? '';
    await using caller = new ChatCaller({ url, model: MODEL, connections });
    const answer = async (question: string) => {
      await caller.ask(withContext(question, await options.retrieve(question)));
      answers += 1;
      lastAnswerAtMs = Date.now();
      onAnswer(answers);
    };
    if (isAllAtOnce) return void (await Promise.all(own.map(answer)));
    for (const question of own) await answer(question);
  };
  // A worker that fails takes nobody with it.
  await Promise.allSettled(Array.from({ length: number }, (_, worker) => work(worker)));
  return { answers, lastAnswerAtMs };
}

function withContext(question: string, passages: readonly string[]): string {
  return passages.length === 0
    ? question
    : `<context>\n${passages.join('\n\n')}\n</context>\n\nQuestion: ${question}`;
}
