// What the generation pool and its threads say to each other. Each thread has a port of its own, which comes with the one
// Piscina task that it runs for as long as it lives.
//
// Tasks go out and outcomes come back in groups: what one turn of the event loop has brought together is one message,
// because a message costs more than what most of them hold.
//
// A task takes a slot while it runs. To cancel it, the pool first sets the slot's flag in shared memory and then
// calls the slot's number on the channel. A thread that starts a task registers it first and then looks at the flag. So a
// cancel is seen whichever of the two, task or call, reaches the thread first; and a call that comes after its
// slot has changed hands finds the flag down.

import type { MessagePort } from 'node:worker_threads';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';

/** How many tasks one pool can have running: more than any sensible sum of the endpoints' windows. */
export const MAX_RUNNING_TASKS = 65_536;

/** Given to every thread when it is started. */
export interface WorkerSetup {
  /** Name of the broadcast channel; its messages are slot numbers. */
  readonly cancelChannel: string;
  /** One flag for each slot: 1 once its task is cancelled. */
  readonly cancelFlags: Uint8Array;
}

/** The Piscina task of a thread; it ends when the port is closed. */
export interface WorkerLink {
  readonly port: MessagePort;
}

/** The pool sends groups of these. */
export interface WorkerTask {
  readonly slot: number;
  readonly task: GenerationTask;
  /** Somebody wants to know when the answer begins. */
  readonly isWatched: boolean;
}

/** And the thread groups of these; its first one is empty, and says that it has started. */
export type WorkerAnswer =
  | { readonly slot: number; readonly outcome: GenerationOutcome }
  | { readonly slot: number; readonly error: unknown }
  | { readonly slot: number; readonly hasBegun: true };
