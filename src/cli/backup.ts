// npm run backup -- <file>: copies the whole store to a file, while the service runs or not.

import { resolve } from 'node:path';
import { readSettings } from '../config.ts';
import { backUp } from '../store/backup.ts';
import { runCommand } from './command.ts';

runCommand({
  usage:
    'npm run backup -- <file> [--force]      (DATA_DIR as the service has it; --force replaces the file)',
  flags: ['force'],
  run(file, flags) {
    const { batches, records, bytes } = backUp(
      readSettings(process.env).DATA_DIR,
      resolve(file),
      flags.has('force'),
    );
    return `${resolve(file)}: ${batches} batches, ${records} records, ${bytes} bytes`;
  },
});
