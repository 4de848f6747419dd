// The options of requests and batches as they stand on the wire: one schema for query parameters, form fields,
// lines and the documentation of all three.

import { type Static, Type } from 'typebox';
import { CONTEXT_ORDERS } from '../domain/context-order.ts';
import { type BatchOptions, COMPLETION_WINDOW, type RequestOptions } from '../domain/options.ts';
import { PRIORITIES } from '../domain/priority.ts';
import type { Where } from '../domain/where.ts';
import { RagmillError } from '../errors.ts';
import { templateProblem } from '../generation/template.ts';

export const MODEL_CHARACTERS_MAX = 256;

const whereSchema = Type.Unsafe<Where>({
  type: 'object',
  additionalProperties: true,
  description:
    'Only passages whose metadata match: `{"lang":"en"}`, `{"year":{"$gte":2020}}`, `{"$and":[…]}`; operators $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin.',
});

export const requestOptionSchema = Type.Object({
  rag_mode: Type.Optional(
    Type.Enum(['retrieve', 'digest', 'off'], {
      description:
        '`retrieve`: passages from the collection stand in the prompt. `digest`: what the RAG model writes of them does. ' +
        '`off`: the question goes alone.',
    }),
  ),
  top_k: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 100, description: 'Passages asked for per question. Default 5.' }),
  ),
  max_distance: Type.Optional(
    Type.Number({
      minimum: 0,
      description: 'Passages farther than this are not used. Default: any distance.',
    }),
  ),
  where: Type.Optional(whereSchema),
  on_no_context: Type.Optional(
    Type.Enum(['answer', 'fail'], {
      description:
        'When no passage is found, or no digest can be used: `answer` (default) asks the model without context, `fail` fails ' +
        'the line.',
    }),
  ),
  model: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: MODEL_CHARACTERS_MAX,
      description: "Default: the endpoint's own chat model.",
    }),
  ),
  max_tokens: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'Most tokens of an answer. Default 1024.' }),
  ),
  temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 2, description: 'Default 0.' })),
  system_prompt: Type.Optional(
    Type.String({ minLength: 1, maxLength: 65_536, description: 'Stands before the context of every line.' }),
  ),
  template: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 65_536,
      description:
        'The message to the model, with `{context}` where the passages belong and, behind it, `{question}`; each once. Not for OpenAI batch lines. Default: the passages, then the question.',
    }),
  ),
});

export const batchOptionSchema = Type.Object({
  ...requestOptionSchema.properties,
  context_order: Type.Optional(
    Type.Enum([...CONTEXT_ORDERS], {
      description:
        'Order of the passages in a prompt. `preserve` (default): by rank. `pin_top`: the best one stands last, next to the ' +
        'question, and the others so that prompts share their beginnings. `full`: all of them so.',
    }),
  ),
  priority: Type.Optional(
    Type.Enum([...PRIORITIES], {
      description:
        'Share of the endpoints beside other batches: 16 to 4 to 1 for `high`, `normal` (default) and `low`.',
    }),
  ),
  on_invalid: Type.Optional(
    Type.Enum(['fail_line', 'reject'], {
      description:
        '`fail_line` (default): a line that cannot be run becomes a failed result. `reject`: it refuses the upload.',
    }),
  ),
  pause_after: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Run so many lines, then pause until `resume`. Default: run through.',
    }),
  ),
  max_failures: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description:
        'Pause when so many lines have failed in retrieval or generation; 0: never. Default: when half of at least 200 have.',
    }),
  ),
  completion_window: Type.Optional(
    Type.String({
      pattern: COMPLETION_WINDOW.source,
      description:
        'Time for the whole batch, such as `90m`, `24h` or `7d`; open lines expire at its end. Default: no limit.',
    }),
  ),
});

export type WireRequestOptions = Static<typeof requestOptionSchema>;
export type WireBatchOptions = Static<typeof batchOptionSchema>;

/** Options given on the wire over those already in force. */
export function overlayRequestOptions(base: RequestOptions, wire: WireRequestOptions): RequestOptions {
  return {
    ragMode: wire.rag_mode ?? base.ragMode,
    topK: wire.top_k ?? base.topK,
    maxDistance: wire.max_distance ?? base.maxDistance,
    where: wire.where ?? base.where,
    onNoContext: wire.on_no_context ?? base.onNoContext,
    model: wire.model ?? base.model,
    maxTokens: wire.max_tokens ?? base.maxTokens,
    temperature: wire.temperature ?? base.temperature,
    systemPrompt: wire.system_prompt ?? base.systemPrompt,
    // Batches from before this option have none.
    template: wire.template ?? base.template,
  };
}

/** Throws `invalid_option` where the schema cannot tell that a value is of no use. */
export function overlayBatchOptions(base: BatchOptions, wire: WireBatchOptions): BatchOptions {
  const problem = wire.template === undefined ? null : templateProblem(wire.template);
  if (problem !== null) throw new RagmillError('invalid_option', `"template" ${problem}.`);
  return {
    ...overlayRequestOptions(base, wire),
    contextOrder: wire.context_order ?? base.contextOrder,
    priority: wire.priority ?? base.priority,
    onInvalid: wire.on_invalid ?? base.onInvalid,
    pauseAfter: wire.pause_after ?? base.pauseAfter,
    maxFailures: wire.max_failures ?? base.maxFailures,
    completionWindow: wire.completion_window ?? base.completionWindow,
  };
}

/** All options with their values, as a batch object shows them. */
export function toWireOptions(options: BatchOptions) {
  return {
    rag_mode: options.ragMode,
    top_k: options.topK,
    max_distance: options.maxDistance,
    where: options.where,
    on_no_context: options.onNoContext,
    model: options.model,
    max_tokens: options.maxTokens,
    temperature: options.temperature,
    system_prompt: options.systemPrompt,
    template: options.template,
    context_order: options.contextOrder,
    priority: options.priority,
    on_invalid: options.onInvalid,
    pause_after: options.pauseAfter,
    max_failures: options.maxFailures,
    completion_window: options.completionWindow,
  };
}
