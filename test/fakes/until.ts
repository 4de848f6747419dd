// Waits for a condition instead of for a time. The deadline is generous: reaching it is a failure, not a result.

import { setTimeout as sleep } from 'node:timers/promises';

export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  deadlineMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await sleep(10);
  }
}
