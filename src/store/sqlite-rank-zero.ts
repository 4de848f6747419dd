// Rank 0 and the READY record of the collection.

import type { CollectionRecord } from '../domain/collection.ts';
import { RagmillError } from '../errors.ts';
import { nextToken } from './sqlite-leases.ts';
import { toCollectionRecord } from './sqlite-rows.ts';
import type { SqliteStatements } from './sqlite-statements.ts';

export class SqliteRankZero {
  readonly #sql: SqliteStatements;

  constructor(statements: SqliteStatements) {
    this.#sql = statements;
  }

  acquire(): number {
    const token = nextToken(this.#sql);
    this.#sql.run("INSERT OR REPLACE INTO meta VALUES ('rank_zero_token', ?)", String(token));
    return token;
  }

  recordReady(
    token: number,
    built: Omit<CollectionRecord, 'generation' | 'readyAt'>,
    nowSeconds: number,
  ): CollectionRecord {
    const holder = this.#sql.get("SELECT value FROM meta WHERE key = 'rank_zero_token'")?.value;
    if (holder !== String(token)) {
      throw new RagmillError(
        'rank_lost',
        'Rank 0 was taken anew since this build began; it records nothing.',
      );
    }
    const row = this.#sql.get(
      `INSERT INTO collections (generation, uuid, name, count, fingerprint, ready_at)
       VALUES ((SELECT coalesce(max(generation), 0) + 1 FROM collections), ?, ?, ?, ?, ?) RETURNING *`,
      built.uuid,
      built.name,
      built.count,
      built.fingerprint,
      nowSeconds,
    );
    if (!row) throw new Error('INSERT … RETURNING returned no row');
    return toCollectionRecord(row);
  }
}
