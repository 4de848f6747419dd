// Preload: kills its process at the KILL_AT_STEP-th thing that the store does to its files, and in the middle of a
// copy. Without the step being reached the process ends as usual.

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';

const killAt = Number(process.env.KILL_AT_STEP);
let steps = 0;

function step(): void {
  steps += 1;
  if (steps === killAt) process.kill(process.pid, 'SIGKILL');
}

type Callable = (...values: unknown[]) => unknown;

/** Steps before the call; the step after it is the one before the next. */
function watch(holder: object, name: string, before: (...values: unknown[]) => void = () => {}): void {
  const original = Reflect.get(holder, name) as Callable;
  Reflect.set(holder, name, function (this: unknown, ...values: unknown[]) {
    step();
    before(...values);
    return original.apply(this, values);
  });
}

for (const name of ['renameSync', 'fsyncSync', 'rmSync', 'linkSync', 'unlinkSync']) watch(fs, name);
watch(fs, 'copyFileSync', (source, target) => {
  const whole = fs.readFileSync(String(source));
  fs.writeFileSync(String(target), whole.subarray(0, whole.length / 2));
  step();
});
for (const name of ['exec', 'prepare', 'close']) watch(DatabaseSync.prototype, name);
syncBuiltinESMExports();
