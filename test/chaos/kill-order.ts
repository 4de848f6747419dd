// What a campaign can order of the service's process through the preload (chaos-preload.ts). Names are those of the
// real classes, so that a rename there breaks the type check here.

import type { RecordWriter } from '../../src/scheduler/record-writer.ts';
import type { Upload } from '../../src/scheduler/upload.ts';
import type { WriterMethod } from '../../src/store/sqlite-thread.ts';

/** Where the process kills itself. */
export type KillPoint =
  /** The body of an upload was read; nothing of its commit has begun. */
  | { readonly at: 'upload'; readonly method: Extract<keyof Upload, 'commit'> }
  /** An answer is there; its record is not yet on its way. */
  | { readonly at: 'record'; readonly method: Extract<keyof RecordWriter, 'add'> }
  /** The transaction that this operation of the store belongs to. `after`: committed, and nobody was told. */
  | {
      readonly at: 'commit';
      readonly of: WriterMethod;
      readonly when: 'before' | 'during' | 'after';
      /** So many commits later: what follows from the operation is done bit by bit. */
      readonly later?: number;
    }
  /** A checkpoint of the log, forced right after that commit. */
  | { readonly at: 'checkpoint'; readonly of: WriterMethod }
  /** A statement of the writing thread whose text holds this. */
  | { readonly at: 'statement'; readonly holding: string; readonly when: 'before' | 'during' | 'after' };

export interface ChaosOrders {
  readonly kill?: KillPoint & {
    /** 1: at the first passage. */
    readonly passage: number;
    /** With `during`: the kill comes at a random instant up to this long after the beginning. */
    readonly withinMicroseconds?: number;
  };
  /** Kills the process that runs the generation of a question which holds this text. */
  readonly poison?: string;
  /** On BLOCK_SIGNAL the main loop stands still for so long. */
  readonly blockMs?: number;
}

/** The environment variable that carries the orders, as JSON. */
export const ORDERS_VARIABLE = 'CHAOS_ORDERS';

/** One that nobody else listens to: most signals end the service. */
export const BLOCK_SIGNAL = 'SIGWINCH';
