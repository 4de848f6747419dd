// F2, F40: killed at random instants of a migration from the first schema. The next start finishes it, with every record
// as it was.

import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import expected from '../fixtures/schema-1.json' with { type: 'json' };
import { noFigures, printFigures } from './figures.ts';
import type { ChaosOrders } from './kill-order.ts';
import { readLog } from './oracle.ts';
import { chaosSurroundings } from './surroundings.ts';

const ROUNDS = 10;
const FIXTURE = fileURLToPath(new URL('../fixtures/schema-1.sqlite', import.meta.url));

const KILLS: readonly NonNullable<ChaosOrders['kill']>[] = [
  { at: 'statement', holding: 'ALTER TABLE batches ADD COLUMN run', when: 'before', passage: 1 },
  {
    at: 'statement',
    holding: 'ALTER TABLE batches ADD COLUMN run',
    when: 'during',
    passage: 1,
    withinMicroseconds: 20_000,
  },
  { at: 'statement', holding: 'ALTER TABLE batches ADD COLUMN run', when: 'after', passage: 1 },
  { at: 'statement', holding: 'PRAGMA user_version = 2', when: 'after', passage: 1 },
  { at: 'statement', holding: 'ALTER TABLE batches ADD COLUMN endpoint', when: 'before', passage: 1 },
  {
    at: 'statement',
    holding: 'ALTER TABLE batches ADD COLUMN endpoint',
    when: 'during',
    passage: 1,
    withinMicroseconds: 20_000,
  },
  { at: 'statement', holding: 'PRAGMA user_version = 3', when: 'after', passage: 1 },
  { at: 'statement', holding: 'COMMIT', when: 'during', passage: 1, withinMicroseconds: 3_000 },
];

t.test('killed in the middle of a migration', async (t) => {
  const { open } = await chaosSurroundings(t);
  const figures = noFigures();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const kill of KILLS) {
      await using service = open();
      mkdirSync(dirname(service.databasePath));
      copyFileSync(FIXTURE, service.databasePath);
      service.launch({ kill });
      await service.died();
      figures.kills += 1;
      figures.readyMs.push(await service.start());
      for (const { batch, records } of expected.contents) {
        const bodies = records.map(({ body }) => body);
        const log = await readLog(service, batch.id, 0);
        t.same(log.slice(0, bodies.length), bodies, `${batch.id} is as it was`);
      }
    }
  }
  printFigures(t, figures);
});
