// npm run restore -- <file>: puts a backup in the place of the database. The service must be stopped.

import { resolve } from 'node:path';
import { readSettings } from '../config.ts';
import { restore } from '../store/restore.ts';
import { runCommand } from './command.ts';

runCommand({
  usage: 'npm run restore -- <file>      (DATA_DIR as the service has it; stop the service first)',
  flags: [],
  run(file) {
    const { DATA_DIR } = readSettings(process.env);
    const { batches, records, bytes, keptAs } = restore(DATA_DIR, resolve(file), new Date());
    const kept = keptAs === null ? '' : `; the replaced database is kept as ${keptAs}`;
    return `${DATA_DIR} restored: ${batches} batches, ${records} records, ${bytes} bytes${kept}`;
  },
});
