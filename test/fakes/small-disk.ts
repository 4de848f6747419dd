// A disk of its own, small enough to fill: a tmpfs, where the machine lets this user mount one.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

function mount(options: string): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-disk-'));
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]).status === 0) return folder;
  rmdirSync(folder);
  return null;
}

function unmount(folder: string): void {
  spawnSync('umount', ['--lazy', folder]);
  rmdirSync(folder);
}

function canMount(): boolean {
  const folder = mount('size=4k');
  if (folder !== null) unmount(folder);
  return folder !== null;
}

/** For the options of a test that mounts one. */
export const needsSmallDisk = canMount() ? {} : { skip: 'this user may not mount a small disk here' };

/** `options` are those of mount(8), such as `size=8m`. It goes with the test. */
export function mountSmallDisk(t: Pick<Test, 'teardown'>, options: string): string {
  const folder = mount(options);
  if (folder === null) throw new Error(`no disk could be mounted with ${options}`);
  t.teardown(() => unmount(folder));
  return folder;
}
