// The least that answers a file of questions: so many loops that read a line, ask the model, and take the next. Nothing is
// stored, nothing is tried again, nobody can ask how far it is. Works a file for each path that its parent sends, and
// ends with it. Usage: bare-loop-process.ts <model server's URL> <calls at a time>

import { ChatCaller } from './chat-caller.ts';
import { questionsIn } from './question-file.ts';

const [url = '', concurrency = '1'] = process.argv.slice(2);
const loops = Number(concurrency);
const caller = new ChatCaller({ url, model: 'instant', connections: loops });

async function answerAll(path: string): Promise<number> {
  const questions = questionsIn(path);
  let answers = 0;
  const loop = async () => {
    for (let next = await questions.next(); !next.done; next = await questions.next()) {
      await caller.ask(next.value.query);
      answers += 1;
    }
  };
  await Promise.all(Array.from({ length: loops }, loop));
  return answers;
}

process.once('disconnect', () => process.exit());
process.on('message', async (path: string) => process.send?.(await answerAll(path)));
process.send?.('ready');
