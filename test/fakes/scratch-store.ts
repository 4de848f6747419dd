// The real embedded store in a folder of its own, closed and removed with the test.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import type { Store } from '../../src/store/store.ts';
import { type Clock, systemClock } from '../../src/time.ts';

export async function scratchStore(
  t: Pick<Test, 'teardown'>,
  clock: Clock = systemClock,
): Promise<SqliteStore> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ragmill-store-'));
  const store = await SqliteStore.open({ dataDir, clock });
  t.teardown(async () => {
    await store.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  return store;
}

/** The store with some of its methods replaced: to fail, to be slow, or to watch. */
export function altered(store: Store, methods: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(methods, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
