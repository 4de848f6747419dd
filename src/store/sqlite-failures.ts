// What SQLite's failures mean for a user: which pass by themselves, and which end the service.

import { type ErrorCode, RagmillError } from '../errors.ts';

/** A failure as it crosses the thread boundary, where classes are lost. */
export interface StoreFailure {
  readonly code: ErrorCode;
  readonly message: string;
}

/** SQLite's primary result codes. Source: sqlite.org/rescode.html */
const SQLITE = {
  BUSY: 5,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  PROTOCOL: 15,
  NOTADB: 26,
};

/** Extended result codes carry the primary one in their low byte. */
const PRIMARY_MASK = 0xff;

const PASSING = [SQLITE.BUSY, SQLITE.READONLY, SQLITE.IOERR, SQLITE.CANTOPEN, SQLITE.PROTOCOL];

/** While the service runs: `storage_full` and `storage_unavailable` pass, after `store_corrupt` nothing is written. */
export function toStoreFailure(error: unknown, path: string): StoreFailure {
  if (error instanceof RagmillError) return { code: error.code, message: error.message };
  const message = error instanceof Error ? error.message : String(error);
  const primary = primaryCode(error);
  if (primary === SQLITE.FULL || isNoSpace(error)) {
    const help = 'Free some space; work goes on by itself.';
    return { code: 'storage_full', message: `The disk that holds DATA_DIR is full. ${help}` };
  }
  if (primary === SQLITE.CORRUPT || primary === SQLITE.NOTADB) {
    return { code: 'store_corrupt', message: describeDamage(path, message) };
  }
  if (primary !== null && PASSING.includes(primary)) {
    const help = 'Nothing was stored; work goes on by itself when the disk does.';
    return { code: 'storage_unavailable', message: `${path} cannot be used now: ${message}. ${help}` };
  }
  return { code: 'internal_error', message };
}

/** At a start, where nobody waits for anything to pass. */
export function toOpenFailure(error: unknown, path: string): StoreFailure {
  const failure = toStoreFailure(error, path);
  if (error instanceof RagmillError || failure.code === 'store_corrupt') return failure;
  const message = error instanceof Error ? error.message : String(error);
  if (failure.code === 'storage_full') {
    return { code: 'storage_full', message: `The disk that holds ${path} is full. Free some space first.` };
  }
  const help = 'See that this user may write it and that no other program holds it, or set another DATA_DIR.';
  return { code: 'data_dir_unusable', message: `${path} cannot be opened: ${message}. ${help}` };
}

export function describeDamage(path: string, what: string): string {
  return (
    `The database ${path} is damaged: ${what}. Nothing more is written to it. ` +
    'Restore a backup: npm run restore -- <file>; it keeps the damaged database.'
  );
}

function primaryCode(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error)) return null;
  return Number(error.errcode) & PRIMARY_MASK;
}

/** A file that was copied, not written by SQLite. */
function isNoSpace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
