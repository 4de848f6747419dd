// What a client sends to make a batch of a file, and what is wrong with it. Nothing is coerced here: in a JSON body a
// number is a number.

import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { OPENAI_ENDPOINTS } from '../../domain/line.ts';
import { COMPLETION_WINDOW } from '../../domain/options.ts';
import { RagmillError } from '../../errors.ts';
import { batchOptionSchema } from '../../scheduler/option-schema.ts';
import { anyKey } from '../batch-object.ts';
import { LIFE_SECONDS_MAX, LIFE_SECONDS_MIN } from './lifetime.ts';

export const batchBodySchema = Type.Object(
  {
    input_file_id: Type.String({ minLength: 1, description: 'An uploaded file with the purpose `batch`.' }),
    endpoint: Type.Enum([...OPENAI_ENDPOINTS]),
    completion_window: Type.String({
      pattern: COMPLETION_WINDOW.source,
      description: 'Time for the whole batch, such as `90m`, `24h` or `7d`.',
    }),
    metadata: Type.Optional(
      Type.Record(anyKey, Type.String({ maxLength: 512 }), {
        maxProperties: 16,
        description:
          'Echoed in the batch. Keys that are the name of an option set it: `{"rag_mode":"off","top_k":"3"}`.',
      }),
    ),
    output_expires_after: Type.Optional(
      Type.Object(
        {
          anchor: Type.Literal('created_at'),
          seconds: Type.Integer({ minimum: LIFE_SECONDS_MIN, maximum: LIFE_SECONDS_MAX }),
        },
        { additionalProperties: false, description: 'How long the files of results are kept.' },
      ),
    ),
    ragmill: Type.Optional(
      Type.Object(batchOptionSchema.properties, {
        additionalProperties: false,
        description: "Options of ragmill's own, over those of `metadata`.",
      }),
    ),
  },
  { additionalProperties: false },
);

export type BatchBody = Static<typeof batchBodySchema>;

const rule = Compile(batchBodySchema);

const KEY_CHARACTERS_MAX = 64;

/** Throws `invalid_option` for the first thing that is wrong, with its name. */
export function readBatchBody(given: unknown): BatchBody {
  const body = withoutNulls(given);
  if (!rule.Check(body)) throw explain(rule.Errors(body));
  for (const key of Object.keys(body.metadata ?? {})) {
    if (key.length <= KEY_CHARACTERS_MAX) continue;
    const text = `Invalid 'metadata': the key '${key}' has more than ${KEY_CHARACTERS_MAX} characters.`;
    throw new RagmillError('invalid_option', text, { param: 'metadata' });
  }
  return body;
}

/** A field that is null is not given. */
function withoutNulls(given: unknown): unknown {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return given;
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

function explain(errors: Iterable<SchemaError>): RagmillError {
  const [first] = errors;
  const { keyword, instancePath = '', message = 'is not valid', params = {} } = first ?? {};
  const path = instancePath.slice(1).replaceAll('/', '.');
  const invalid = (param: string, text: string) => new RagmillError('invalid_option', text, { param });
  if ('requiredProperties' in params) {
    const [missing] = params.requiredProperties as string[];
    const name = path === '' ? `${missing}` : `${path}.${missing}`;
    return invalid(name, `Missing required parameter: '${name}'.`);
  }
  // A field that the schema does not know.
  if (keyword === 'boolean') return invalid(path, `Unknown parameter: '${path}'.`);
  if (path === '') return new RagmillError('bad_request', 'The body must be a JSON object.');
  return invalid(path, `Invalid '${path}': it ${say(message, params)}.`);
}

function say(message: string, params: object): string {
  if ('allowedValues' in params) return `must be one of ${(params.allowedValues as string[]).join(', ')}`;
  if ('allowedValue' in params) return `must be ${JSON.stringify(params.allowedValue)}`;
  if ('pattern' in params) return 'must be a number with s, m, h or d, such as 24h';
  return message;
}
