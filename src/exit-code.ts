// The exit code of a process that had to stop: a supervisor can tell what a restart alone will not cure.

import { type ErrorCode, RagmillError } from './errors.ts';

const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  config_invalid: 2,
  schema_newer: 3,
  data_dir_locked: 4,
  store_corrupt: 5,
};

/** 1 for everything that has no code of its own. */
export function exitCodeOf(error: unknown): number {
  return (error instanceof RagmillError && EXIT_CODES[error.code]) || 1;
}
