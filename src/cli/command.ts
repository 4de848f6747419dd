// What the commands that work on the data folder share: one argument, one line of answer, one line of error.

import { parseArgs } from 'node:util';
import { exitCodeOf } from '../exit-code.ts';

export interface Command {
  readonly usage: string;
  readonly flags: readonly string[];
  /** Answers the line to print. */
  readonly run: (file: string, flags: ReadonlySet<string>) => string;
}

/** Wrong arguments, as with wrong settings. */
const USAGE_EXIT_CODE = 2;

/** Ends the process with the exit code of what goes wrong. */
export function runCommand(command: Command): void {
  const given = readArguments(command);
  if (given === null) {
    process.stderr.write(`Usage: ${command.usage}\n`);
    process.exitCode = USAGE_EXIT_CODE;
    return;
  }
  try {
    process.stdout.write(`${command.run(given.file, given.flags)}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}

function readArguments({ flags }: Command): { file: string; flags: Set<string> } | null {
  try {
    const options = Object.fromEntries(flags.map((flag) => [flag, { type: 'boolean' } as const]));
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const [file, ...more] = positionals;
    if (file === undefined || file === '' || more.length > 0) return null;
    return { file, flags: new Set(Object.keys(values)) };
  } catch {
    return null;
  }
}
