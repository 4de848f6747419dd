// Process edge: environment → settings → app → listen; signals. Nothing else.

import closeWithGrace from 'close-with-grace';
import { startApp } from './app.ts';
import { readSettings, type Settings } from './config.ts';
import { exitCodeOf } from './exit-code.ts';
import { createLog } from './log.ts';
import { systemClock } from './time.ts';

/** However short the grace is, closing takes its time: connections, the last records, child processes. */
const STOP_MIN_MS = 10_000;

async function serve(settings: Settings): Promise<void> {
  // Started by another program over a channel (the demo), it ends with that program, however that one ended.
  if (process.channel) process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  const log = createLog(settings.LOG_LEVEL);
  const app = await startApp({ settings, log, clock: systemClock });
  // A second signal while this runs ends the process at once.
  const delay = Math.max(settings.SHUTDOWN_GRACE_MS, STOP_MIN_MS);
  closeWithGrace({ delay, logger: log }, async ({ err }) => {
    if (err) log.fatal({ err }, 'unexpected error');
    await app.stop();
  });
  void app.failed.then(async (error) => {
    // However the stop ends, the reason for it is told.
    await app.stop().catch((failure) => log.error({ err: failure }, 'the stop failed'));
    giveUp(error);
  });
}

/** One line that says what is wrong and what to do, whatever the log level. */
function giveUp(error: unknown): never {
  process.stderr.write(`ragmill has to stop: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(exitCodeOf(error));
}

try {
  await serve(readSettings(process.env));
} catch (error) {
  giveUp(error);
}
