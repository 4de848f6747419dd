// The embedded CPU model endpoint: a program of its own, so that ragmill reaches it as it reaches any model server.
// It keeps nothing, so it may end at any moment: on a signal at once, and when its stdin closes, which is how it
// never outlives the process that started it, however that one ended.
//
//   node src/embedded/main.ts [--port N]      N = 0 or none: any free port
//
// Once it listens it prints one line of JSON: {"listening":"http://127.0.0.1:PORT"}.

import { parseArgs } from 'node:util';
import { createChatApi } from './chat-api.ts';

function readPort(): number {
  const { port } = parseArgs({ options: { port: { type: 'string', default: '0' } } }).values;
  const number = Number(port);
  if (!Number.isInteger(number) || number < 0 || number > 65_535)
    throw new RangeError(`--port ${port} is no port`);
  return number;
}

function endWithParent(): void {
  const end = (): void => process.exit(0);
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  process.stdin.once('end', end);
  process.stdin.once('error', end);
  process.stdin.resume();
}

async function main(): Promise<void> {
  endWithParent();
  const app = createChatApi();
  const listening = await app.listen({ host: '127.0.0.1', port: readPort() });
  process.stdout.write(`${JSON.stringify({ listening })}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`The embedded model endpoint cannot start: ${String(error)}\n`);
  process.exitCode = 1;
  process.stdin.destroy();
});
