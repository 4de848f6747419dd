// What decides when a simulated model server works on a request, and when its answer is made.

import type { Socket } from 'node:net';
import type { Prompt } from './slot-prompt.ts';

/** A request at a server. */
export interface Job {
  readonly socket: Socket;
  readonly prompt: Prompt;
  /** Of its answer, relative to the mean of all. */
  readonly length: number;
  readonly answerTokens: number;
}

/** What a server hears of its jobs. */
export interface PaceEvents {
  /** It has a slot. */
  started(job: Job, cachedTokens: number): void;
  /** Its answer begins. */
  begun(job: Job): void;
  /** A further part of its answer is made. */
  continued(job: Job): void;
  /** Its answer is made, and its slot is free. */
  done(job: Job): void;
  prefilled(tokens: number): void;
}

export interface Pace {
  readonly running: number;
  /** Without a slot. */
  readonly waiting: number;
  /** Everything takes so many times its time. 0: no time at all. */
  slowness: number;
  add(job: Job): void;
  /** Nobody wants its answer any more. */
  remove(job: Job): void;
}
