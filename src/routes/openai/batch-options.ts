// The options of a batch that is made of a file: the service's own, over them those that stand in its metadata under
// their names, and over those the ones of `ragmill`.

import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { CHAT_COMPLETIONS } from '../../domain/line.ts';
import type { BatchOptions } from '../../domain/options.ts';
import { whereProblem } from '../../domain/where.ts';
import { RagmillError } from '../../errors.ts';
import { templateProblem } from '../../generation/template.ts';
import {
  batchOptionSchema,
  overlayBatchOptions,
  type WireBatchOptions,
} from '../../scheduler/option-schema.ts';
import type { BatchBody } from './batch-body.ts';

type OptionName = keyof WireBatchOptions;

const rules = new Map(
  Object.entries(batchOptionSchema.properties).map(([name, schema]) => [
    name,
    { rule: Compile(Type.Object({ value: schema })), kind: (schema as { readonly type?: string }).type },
  ]),
);

/** Throws `invalid_option` with the name of the option. */
export function optionsOf(body: BatchBody, defaults: BatchOptions): BatchOptions {
  const base = { ...defaults, maxFailures: 0, completionWindow: body.completion_window };
  const wire = { ...fromMetadata(body.metadata ?? {}), ...checked('ragmill', body.ragmill ?? {}) };
  const options = overlayBatchOptions(base, wire);
  // What has no question retrieves nothing.
  return body.endpoint === CHAT_COMPLETIONS ? options : { ...options, ragMode: 'off' };
}

function fromMetadata(metadata: Readonly<Record<string, string>>): WireBatchOptions {
  const named = Object.entries(metadata).filter(([name]) => rules.has(name));
  return checked('metadata', Object.fromEntries(named.map(([name, text]) => [name, coerce(name, text)])));
}

/** A text as the type that the option has; where it is none of that type it stays a text, and is refused. */
function coerce(name: string, text: string): unknown {
  const kind = rules.get(name)?.kind;
  if (kind === 'integer' || kind === 'number') return text.trim() === '' ? text : Number(text);
  if (kind !== 'object') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function checked(from: 'metadata' | 'ragmill', given: Readonly<Record<string, unknown>>): WireBatchOptions {
  for (const [name, value] of Object.entries(given)) {
    const problem = problemOf(name as OptionName, value);
    if (problem === null) continue;
    const param = `${from}.${name}`;
    throw new RagmillError('invalid_option', `Invalid '${param}': it ${problem}.`, { param });
  }
  return given as WireBatchOptions;
}

function problemOf(name: OptionName, value: unknown): string | null {
  const rule = rules.get(name)?.rule;
  if (rule === undefined) return 'is not an option';
  const [error] = rule.Errors({ value });
  if (error) {
    const allowed =
      'allowedValues' in error.params ? `: ${(error.params.allowedValues as string[]).join(', ')}` : '';
    return `${error.message}${allowed}`;
  }
  if (name === 'where') return whereProblem(value);
  return name === 'template' ? templateProblem(value as string) : null;
}
