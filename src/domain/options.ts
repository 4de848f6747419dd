// What a batch may ask for, and a line may override. All values are resolved when the batch is created: a
// restart with other settings changes no running batch.

import type { ContextOrder } from './context-order.ts';
import type { Priority } from './priority.ts';
import type { Where } from './where.ts';

/** The options that apply to one request. */
export interface RequestOptions {
  /** `digest`: the RAG model writes what answers the question in the passages; `off`: the question goes alone. */
  readonly ragMode: 'retrieve' | 'digest' | 'off';
  /** Passages asked for per question. */
  readonly topK: number;
  /** Passages farther than this are not used; null: any distance. */
  readonly maxDistance: number | null;
  /** Only passages whose metadata match are found; null: all. */
  readonly where: Where | null;
  /** What follows when no passage is found: answer without, or fail the line. */
  readonly onNoContext: 'answer' | 'fail';
  /** null: the endpoint's own chat model. */
  readonly model: string | null;
  readonly maxTokens: number;
  readonly temperature: number;
  /** null: the built-in one. */
  readonly systemPrompt: string | null;
  /** The user message, with `{context}` and `{question}` in it; null: the built-in form. */
  readonly template: string | null;
}

export interface BatchOptions extends RequestOptions {
  /** Which order passages may have in a prompt, so that prompts share their beginnings. */
  readonly contextOrder: ContextOrder;
  /** What the batch gets of the endpoints beside other batches. */
  readonly priority: Priority;
  /** `fail_line`: a bad line becomes a failed result; `reject`: one bad line refuses the upload. */
  readonly onInvalid: 'fail_line' | 'reject';
  /** Pause when so many lines have run; null: run through. */
  readonly pauseAfter: number | null;
  /** Pause at so many failed lines; 0: never; null: when half of at least 200 have failed. */
  readonly maxFailures: number | null;
  /** Time for the whole batch, such as `24h`; null: no limit. */
  readonly completionWindow: string | null;
}

const WINDOW_UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** The form of a completion window: a number and its unit. */
export const COMPLETION_WINDOW = /^[1-9]\d{0,6}[smhd]$/;

/** Seconds of a window that has the form. */
export function windowSeconds(completionWindow: string): number {
  const unit = completionWindow.at(-1) as keyof typeof WINDOW_UNIT_SECONDS;
  return Number(completionWindow.slice(0, -1)) * WINDOW_UNIT_SECONDS[unit];
}
