// The log: JSON lines on standard output. A line that cannot be written is lost; the service is not.

import { pino } from 'pino';

/** What is kept for when a full disk has room again; what comes beyond it is dropped. */
const BUFFER_BYTES = 1024 * 1024;

export function createLog(level: string): pino.Logger {
  const stdout = pino.destination({ dest: 1, sync: true, maxLength: BUFFER_BYTES });
  // Without a listener a full disk under the log would count as an unexpected error, and end the service.
  stdout.on('error', () => {});
  // Every line is written at once; a flush of what a full disk refuses would hold the whole process until it is gone.
  stdout.flushSync = () => {};
  return pino({ level }, stdout);
}
