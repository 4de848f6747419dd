// The settings: environment variables, parsed once into one frozen value. Nothing else reads the environment.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { envSchema } from 'env-schema';
import { type Static, Type } from 'typebox';
import { RagmillError } from './errors.ts';

const milliseconds = (fallback: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1, default: fallback, description });
const count = (fallback: number, maximum: number, description: string) =>
  Type.Integer({ minimum: 1, maximum, default: fallback, description });

const bytes = (fallback: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: fallback, description });

const deviceList = (description: string) => Type.Optional(Type.String({ description }));

/** Every setting, with its default and what it means: the source of the table in docs/operations.md. */
export const settingsSchema = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', description: 'Address to listen on' }),
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 8080,
    description: 'Port to listen on; 0: any free one',
  }),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'], {
    default: 'info',
    description: 'Least severe log lines written',
  }),
  DATA_DIR: Type.String({
    default: 'data',
    description: 'Folder of everything that must survive; one process each',
  }),

  CHROMA_URL: Type.Optional(
    Type.String({ description: 'A Chroma server; unset: one of our own runs embedded' }),
  ),
  CHROMA_API_KEY: Type.Optional(Type.String({ description: 'Sent to CHROMA_URL as x-chroma-token' })),
  CHROMA_TENANT: Type.Optional(Type.String({ description: "Chroma tenant; unset: the server's default" })),
  CHROMA_DATABASE: Type.Optional(
    Type.String({ description: "Chroma database; unset: the server's default" }),
  ),
  CHROMA_COLLECTION: Type.String({ default: 'ragmill', description: 'Name of the collection' }),
  CORPUS_PATH: Type.Optional(
    Type.String({ description: "Folder of .md and .txt, or a .jsonl file; unset: ragmill's own docs" }),
  ),
  CORPUS_CHUNK_CHARACTERS: Type.Integer({
    minimum: 200,
    maximum: 100_000,
    default: 1500,
    description: 'Most characters of a passage',
  }),
  RESET_COLLECTION: Type.Optional(
    Type.Enum(['always', 'if-changed', 'never'], {
      description:
        'When a start fills the collection anew; never: only read what is there; unset: always, with CHROMA_URL if-changed',
    }),
  ),
  BOOTSTRAP_TIMEOUT_MS: milliseconds(120_000, 'How long a start waits for Chroma, and for the embedder'),

  EMBEDDING_URL: Type.Optional(
    Type.String({
      description: 'An embedding server with an OpenAI-compatible API; unset: the built-in lexical embedder',
    }),
  ),
  EMBEDDING_MODEL: Type.Optional(Type.String({ description: 'Model to ask EMBEDDING_URL for' })),
  EMBEDDING_API_KEY: Type.Optional(Type.String({ description: 'Sent to EMBEDDING_URL as a bearer token' })),
  EMBEDDING_QUERY_PREFIX: Type.Optional(
    Type.String({ description: 'Put before every question that is embedded' }),
  ),
  EMBEDDING_DOCUMENT_PREFIX: Type.Optional(
    Type.String({ description: 'Put before every passage that is embedded' }),
  ),
  EMBEDDING_BATCH_SIZE: count(32, 512, 'Most texts of a request to EMBEDDING_URL'),
  EMBEDDING_TIMEOUT_MS: milliseconds(60_000, 'Time for one request to EMBEDDING_URL with passages'),

  GPU_ENDPOINTS: Type.Optional(
    Type.String({
      description:
        'Model servers: [name=]url[;kind=…][;model=…], comma separated; unset: the sequential ports',
    }),
  ),
  GPU_HOST: Type.String({ default: '127.0.0.1', description: 'Host of the sequential ports' }),
  GPU_BASE_PORT: Type.Integer({
    minimum: 1,
    maximum: 65_528,
    default: 11_434,
    description: 'First of the ports',
  }),
  GPU_COUNT: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 1024,
      description: 'How many GPUs there are; unset: as many as are found',
    }),
  ),
  CUDA_VISIBLE_DEVICES: deviceList('NVIDIA GPUs that count, as CUDA reads it'),
  NVIDIA_VISIBLE_DEVICES: deviceList('NVIDIA GPUs that a container is given'),
  ROCR_VISIBLE_DEVICES: deviceList('AMD GPUs that count, as ROCm reads it'),
  HIP_VISIBLE_DEVICES: deviceList('AMD GPUs that count, of those that ROCR_VISIBLE_DEVICES leaves'),
  GPU_DEVICE_ORDINAL: deviceList('As HIP_VISIBLE_DEVICES, which goes first'),
  GPU_CONCURRENCY: Type.String({
    pattern: '^(auto|[1-9][0-9]{0,3})$',
    default: 'auto',
    description: '`auto` (as many as turn out best) or a number: requests an endpoint may have in flight',
  }),
  GPU_API_KEY: Type.Optional(Type.String({ description: 'Sent to model servers as a bearer token' })),
  MODEL: Type.Optional(
    Type.String({ description: "Model to ask for; unset: each endpoint's first chat model" }),
  ),
  MODEL_CONTEXT_TOKENS: Type.Optional(
    Type.Integer({
      minimum: 256,
      maximum: 100_000_000,
      description:
        'Tokens of prompt and answer together, for model servers that do not tell; unset: not known',
    }),
  ),
  EMBEDDED_MODEL: Type.Enum(['on', 'off'], {
    default: 'off',
    description: 'on: answer with the built-in extractive model instead of model servers',
  }),

  RAG_MODE: Type.Enum(['retrieve', 'digest', 'off'], {
    default: 'retrieve',
    description: 'Default rag_mode of a batch',
  }),
  RAG_TOP_K: Type.Integer({ minimum: 1, maximum: 100, default: 5, description: 'Default top_k of a batch' }),
  RAG_MAX_DISTANCE: Type.Optional(
    Type.Number({ minimum: 0, description: 'Default max_distance of a batch' }),
  ),
  RETRIEVAL_TIMEOUT_MS: milliseconds(5_000, 'Time for one retrieval call'),
  RAG_MAX_ATTEMPTS: count(3, 100, 'Attempts of a line at retrieval, and at its digest'),
  RAG_OUTAGE_MS: milliseconds(
    600_000,
    'How long lines wait for Chroma, the embedder or the RAG model before they fail',
  ),
  RAG_MODEL: Type.Optional(
    Type.String({
      description:
        "Model that writes digests; unset: the batch's, with GENERATION_ENDPOINTS each endpoint's first chat model",
    }),
  ),
  RAG_TIMEOUT_MS: milliseconds(120_000, 'Time for one whole digest'),
  RAG_DIGEST_MAX_TOKENS: count(512, 1_000_000, 'Most tokens of a digest; one cut off there is not used'),

  GENERATION_ENDPOINTS: Type.Optional(
    Type.String({
      description:
        'Model servers that answer, written as GPU_ENDPOINTS, which then write the digests; unset: the same ones',
    }),
  ),

  GENERATION_TIMEOUT_MS: milliseconds(1_800_000, 'Time for one whole answer'),
  FIRST_TOKEN_TIMEOUT_MS: milliseconds(300_000, 'Time until an answer begins'),
  GENERATION_STALL_MS: milliseconds(60_000, 'Longest silence within an answer'),
  GENERATION_MAX_ATTEMPTS: count(3, 100, 'Generation attempts of a line'),
  GENERATION_THREADS: count(
    Math.min(4, availableParallelism()),
    64,
    'Threads that build prompts and read answers',
  ),

  MAX_BATCH_LINES: count(5_000_000, 100_000_000, 'Most lines of an upload'),
  MAX_BATCH_BYTES: count(4 * 1024 ** 3, Number.MAX_SAFE_INTEGER, 'Most bytes of an upload'),
  MAX_LINE_BYTES: count(10 * 1024 ** 2, 256 * 1024 ** 2, 'Most bytes of a line'),
  MAX_CONCURRENT_UPLOADS: count(8, 1000, 'Most uploads at a time'),
  MAX_STORED_BYTES: bytes(0, 'Most bytes of the store before uploads are refused; 0: no limit'),
  MIN_FREE_DISK_BYTES: bytes(
    256 * 1024 ** 2,
    'Free disk below which uploads are refused, kept for results; 0: no reserve',
  ),
  RETENTION_HOURS: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 0,
    description: 'How long ended batches and uploaded files are kept; 0: until they are deleted',
  }),
  SHUTDOWN_GRACE_MS: milliseconds(25_000, 'Time for a whole stop, most of it for running generations'),
});

export type Settings = Readonly<Static<typeof settingsSchema>>;

/** An empty list of devices says that there are none. */
const TELLING_WHEN_EMPTY = new Set([
  'CUDA_VISIBLE_DEVICES',
  'NVIDIA_VISIBLE_DEVICES',
  'ROCR_VISIBLE_DEVICES',
  'HIP_VISIBLE_DEVICES',
  'GPU_DEVICE_ORDINAL',
]);

/** Each of these is also read from the file that the variable with `_FILE` appended names. */
const SECRETS = ['CHROMA_API_KEY', 'EMBEDDING_API_KEY', 'GPU_API_KEY'] as const;

/** What only says more about EMBEDDING_URL; those with a default of their own are no sign of a mistake. */
const ABOUT_EMBEDDING = [
  'EMBEDDING_MODEL',
  'EMBEDDING_API_KEY',
  'EMBEDDING_QUERY_PREFIX',
  'EMBEDDING_DOCUMENT_PREFIX',
] as const;

/** Throws one `config_invalid` that lists everything wrong. An empty value counts as unset, but for lists of devices. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const given = Object.fromEntries(
    Object.entries(environment).filter(
      ([name, value]) => value?.trim() !== '' || TELLING_WHEN_EMPTY.has(name),
    ),
  );
  const problems = [...readSecretFiles(given)];
  let settings: Settings | null = null;
  try {
    // The schema is copied because env-schema writes into it.
    settings = envSchema<Settings>({ schema: { ...settingsSchema }, data: given, env: false });
  } catch (error) {
    problems.push(...describeProblems(error));
  }
  for (const [name, value] of Object.entries(settings ?? {})) {
    // Coerced from a text such as 1e400, they pass every maximum.
    if (typeof value === 'number' && !Number.isFinite(value))
      problems.push(`${name} must be a finite number`);
  }
  if (given.RESET_COLLECTION === 'never' && given.EMBEDDING_URL === undefined) {
    problems.push(
      'RESET_COLLECTION=never needs EMBEDDING_URL: the built-in embedder only knows collections that it filled',
    );
  }
  if (given.EMBEDDED_MODEL === 'on' && given.GPU_ENDPOINTS !== undefined) {
    problems.push('EMBEDDED_MODEL=on and GPU_ENDPOINTS exclude each other: unset one');
  }
  if (given.EMBEDDED_MODEL === 'on' && given.GENERATION_ENDPOINTS !== undefined) {
    problems.push('EMBEDDED_MODEL=on and GENERATION_ENDPOINTS exclude each other: unset one');
  }
  if (given.CHROMA_URL !== undefined && !isHttpUrl(given.CHROMA_URL)) {
    problems.push('CHROMA_URL must be a URL such as http://127.0.0.1:8000');
  }
  problems.push(...checkEmbedding(given));
  if (settings === null || problems.length > 0) {
    throw new RagmillError('config_invalid', `The settings are wrong: ${problems.join('; ')}.`);
  }
  return Object.freeze({ ...settings, DATA_DIR: resolve(settings.DATA_DIR) });
}

function checkEmbedding(given: Record<string, string | undefined>): string[] {
  const { EMBEDDING_URL: url, EMBEDDING_MODEL: model } = given;
  if (url === undefined) {
    return ABOUT_EMBEDDING.filter((name) => given[name] !== undefined).map(
      (name) => `${name} has no effect without EMBEDDING_URL: set that too`,
    );
  }
  return [
    ...(isHttpUrl(url) ? [] : ['EMBEDDING_URL must be a URL such as http://127.0.0.1:8000/v1']),
    ...(model === undefined ? ['EMBEDDING_URL needs EMBEDDING_MODEL: the name of the model to ask for'] : []),
  ];
}

function isHttpUrl(text: string): boolean {
  return /^https?:$/.test(URL.parse(text)?.protocol ?? '');
}

/** Puts the contents in place; answers what went wrong. */
function readSecretFiles(environment: Record<string, string | undefined>): string[] {
  return SECRETS.flatMap((name) => {
    const path = environment[`${name}_FILE`];
    if (path === undefined) return [];
    if (environment[name] !== undefined) return [`${name} and ${name}_FILE are both set: unset one`];
    try {
      const secret = readFileSync(path, 'utf8').trim();
      if (secret !== '') environment[name] = secret;
      return [];
    } catch (error) {
      return [`${name}_FILE cannot be read: ${error instanceof Error ? error.message : String(error)}`];
    }
  });
}

interface SchemaProblem {
  readonly instancePath: string;
  readonly message?: string;
  readonly params: { readonly allowedValues?: readonly string[] };
}

function describeProblems(error: unknown): string[] {
  const problems = error instanceof Error && 'errors' in error ? (error.errors as SchemaProblem[]) : null;
  if (problems === null) throw error;
  return problems.map(({ instancePath, message, params }) => {
    const allowed = params.allowedValues ? `: ${params.allowedValues.join(', ')}` : '';
    return `${instancePath.slice(1)} ${message ?? 'is wrong'}${allowed}`;
  });
}
