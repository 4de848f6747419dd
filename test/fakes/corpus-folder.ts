// A corpus of files in the folder of a test.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';

/** By path below the folder, which is answered. */
export function corpusFolder(
  t: Pick<Test, 'testdir'>,
  files: Readonly<Record<string, string | Buffer>>,
): string {
  const folder = t.testdir();
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return folder;
}
