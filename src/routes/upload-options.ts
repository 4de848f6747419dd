// What a client may say about an upload beside the file: in the query string, or in the fields of a form.

import { type Static, Type } from 'typebox';
import { type Where, whereProblem } from '../domain/where.ts';
import { RagmillError } from '../errors.ts';
import { batchOptionSchema, type WireBatchOptions } from '../scheduler/option-schema.ts';

export const uploadFieldSchema = Type.Object(
  {
    ...batchOptionSchema.properties,
    where: Type.Optional(
      Type.String({
        description: 'As in a line, as JSON: only passages whose metadata match: {"lang":"en"}',
      }),
    ),
    metadata: Type.Optional(
      Type.String({ description: 'A JSON object of strings, echoed in the batch: {"team":"search"}' }),
    ),
  },
  { additionalProperties: false },
);
export type UploadFields = Static<typeof uploadFieldSchema>;

export const uploadQuerySchema = Type.Object(
  {
    ...uploadFieldSchema.properties,
    dry_run: Type.Optional(
      Type.Boolean({ description: '`true`: nothing is stored; the answer says what an upload would do.' }),
    ),
  },
  { additionalProperties: false },
);
export type UploadQuery = Static<typeof uploadQuerySchema>;

/** The options among the fields, as a line would have them. Throws `invalid_option`. */
export function wireOptionsOf({ where, ...rest }: Omit<UploadFields, 'metadata'>): WireBatchOptions {
  if (where === undefined) return rest;
  const filter = parseJson('where', where, 'a filter such as {"lang":"en"}');
  const problem = whereProblem(filter);
  if (problem !== null) throw new RagmillError('invalid_option', `"where" ${problem}.`);
  return { ...rest, where: filter as Where };
}

function parseJson(name: string, text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RagmillError('invalid_option', `"${name}" must be JSON: ${what}.`);
  }
}

/** At most 16 pairs of strings, as OpenAI's batches have them. */
export function parseMetadata(text: string | undefined): Record<string, string> | null {
  if (text === undefined) return null;
  const value = parseJson('metadata', text, 'an object of strings');
  const isFlat = typeof value === 'object' && value !== null && !Array.isArray(value);
  const pairs = isFlat ? Object.entries(value as object) : [];
  const isValid = isFlat && pairs.length <= 16 && pairs.every(([key, item]) => isPair(key, item));
  if (!isValid) {
    throw new RagmillError(
      'invalid_option',
      '"metadata" must be an object of at most 16 strings, with keys up to 64 and values up to 512 characters.',
    );
  }
  return Object.fromEntries(pairs);
}

function isPair(key: string, value: unknown): boolean {
  return key.length <= 64 && typeof value === 'string' && value.length <= 512;
}

/** null: none is given. Throws `idempotency_key_invalid`. */
export function idempotencyKeyOf(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  if (typeof header === 'string' && /^[\x20-\x7e]{1,255}$/.test(header)) return header;
  throw new RagmillError(
    'idempotency_key_invalid',
    'The Idempotency-Key must be 1 to 255 printable ASCII characters, such as a UUID.',
  );
}
