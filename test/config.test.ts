import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { readSettings, settingsSchema } from '../src/config.ts';
import { RagmillError } from '../src/errors.ts';

/** For the drivers of GPUs, which read them too, an empty one is not an unset one. */
const DEVICE_LISTS = [
  'CUDA_VISIBLE_DEVICES',
  'NVIDIA_VISIBLE_DEVICES',
  'ROCR_VISIBLE_DEVICES',
  'HIP_VISIBLE_DEVICES',
  'GPU_DEVICE_ORDINAL',
];

/** What is wrong, or null when nothing is. */
function complaint(environment: Record<string, string>): string | null {
  try {
    readSettings(environment);
    return null;
  } catch (error) {
    if (error instanceof RagmillError && error.code === 'config_invalid') return error.message;
    throw error;
  }
}

t.test('everything has a default, and an empty value counts as unset', async (t) => {
  const defaults = readSettings({});
  t.match(defaults, {
    HOST: '127.0.0.1',
    PORT: 8080,
    DATA_DIR: resolve('data'),
    RAG_MODE: 'retrieve',
    RAG_MAX_ATTEMPTS: 3,
    RAG_OUTAGE_MS: 600_000,
    RAG_TIMEOUT_MS: 120_000,
    RAG_DIGEST_MAX_TOKENS: 512,
    RAG_TOP_K: 5,
    RETRIEVAL_TIMEOUT_MS: 5_000,
    GENERATION_TIMEOUT_MS: 1_800_000,
    GENERATION_MAX_ATTEMPTS: 3,
    MAX_BATCH_LINES: 5_000_000,
    MAX_BATCH_BYTES: 4 * 1024 ** 3,
    MAX_LINE_BYTES: 10 * 1024 ** 2,
    SHUTDOWN_GRACE_MS: 25_000,
  });
  for (const nothing of ['', ' \t']) {
    const settings = Object.keys(settingsSchema.properties).filter((name) => !DEVICE_LISTS.includes(name));
    const names = [...settings, 'GPU_API_KEY_FILE'];
    t.strictSame(readSettings(Object.fromEntries(names.map((name) => [name, nothing]))), defaults);
  }
  t.notOk('CHROMA_URL' in defaults || 'GPU_ENDPOINTS' in defaults || 'RAG_MAX_DISTANCE' in defaults);
});

t.test('an empty list of devices stays an empty list', async (t) => {
  for (const name of DEVICE_LISTS) {
    t.match(readSettings({ [name]: '' }), { [name]: '' });
    t.notOk(name in readSettings({}));
  }
});

t.test('reading twice gives the same, and nobody can change it', async (t) => {
  const first = readSettings({ PORT: '1', RAG_TOP_K: '7' });
  t.strictSame(readSettings({ PORT: '1', RAG_TOP_K: '7' }), first);
  t.equal(readSettings({}).PORT, 8080, 'what was read before leaves no trace');
  t.throws(() => {
    (first as { PORT: number }).PORT = 2;
  }, TypeError);
});

t.test('takes nothing from the environment but the settings, and leaves it as it is', async (t) => {
  const environment = { PATH: '/bin', AWS_SECRET: 'x', PORT: '0', LOG_LEVEL: '' };
  const settings = readSettings(environment);
  t.same(
    Object.keys(settings).filter((name) => !(name in settingsSchema.properties)),
    [],
  );
  t.strictSame(environment, { PATH: '/bin', AWS_SECRET: 'x', PORT: '0', LOG_LEVEL: '' });
});

t.test('every setting that is wrong is named, all in one error', async (t) => {
  const wrong = {
    PORT: '65536',
    LOG_LEVEL: 'loud',
    RAG_TOP_K: '0',
    RAG_MAX_DISTANCE: '-1',
    GPU_CONCURRENCY: '0',
    GENERATION_TIMEOUT_MS: 'soon',
    MAX_LINE_BYTES: '1.5',
    CHROMA_URL: 'nonsense',
    EMBEDDED_MODEL: 'on',
    GPU_ENDPOINTS: 'http://a',
    GPU_API_KEY_FILE: '/nowhere/key',
  };
  const message = complaint(wrong) ?? '';
  for (const name of Object.keys(wrong)) t.match(message, new RegExp(`\\b${name}\\b`), name);
  t.match(message, /LOG_LEVEL[^;]*trace, debug, info/, 'with what is allowed');
});

t.test('one wrong setting is one complaint', async (t) => {
  for (const [name, value] of [
    ['PORT', '-1'],
    ['PORT', '80 80'],
    ['PORT', 'http'],
    ['RESET_COLLECTION', 'sometimes'],
    ['RAG_MODE', 'RETRIEVE'],
    ['EMBEDDED_MODEL', 'true'],
    ['GPU_CONCURRENCY', '2.5'],
    ['GPU_CONCURRENCY', '10000'],
    ['GPU_BASE_PORT', '65529'],
    ['GPU_COUNT', '1025'],
    ['GPU_COUNT', '-1'],
    ['CORPUS_CHUNK_CHARACTERS', '10'],
    ['SHUTDOWN_GRACE_MS', '2147483648'],
    ['MAX_BATCH_BYTES', '1e400'],
    ['PORT', 'Infinity'],
    ['RAG_MAX_DISTANCE', '1e400'],
    ['CHROMA_URL', 'localhost:8000'],
    ['CHROMA_URL', 'ftp://chroma'],
    ['CHROMA_URL', 'http://'],
    ['EMBEDDING_BATCH_SIZE', '0'],
    ['EMBEDDING_MODEL', 'bge-m3'],
    ['EMBEDDING_API_KEY', 'sk'],
    ['EMBEDDING_QUERY_PREFIX', 'query: '],
    ['EMBEDDING_URL', 'http://127.0.0.1:8000/v1'],
  ] as const) {
    const message = complaint({ [name]: value }) ?? 'none';
    t.match(message, new RegExp(`^The settings are wrong: ${name} [^;]+\\.$`), `${name}=${value}`);
  }
});

t.test('an embedding server needs an address and a model, and prefixes keep their spaces', async (t) => {
  const server = { EMBEDDING_URL: 'http://127.0.0.1:8000/v1', EMBEDDING_MODEL: 'e5' };
  const prefixed = readSettings({ ...server, EMBEDDING_QUERY_PREFIX: 'query: ' });
  t.match(prefixed, { ...server, EMBEDDING_QUERY_PREFIX: 'query: ', EMBEDDING_BATCH_SIZE: 32 });
  t.match(complaint({ EMBEDDING_URL: server.EMBEDDING_URL }), /needs EMBEDDING_MODEL/);
  t.match(complaint({ EMBEDDING_MODEL: 'e5' }), /without EMBEDDING_URL/);
  t.match(complaint({ ...server, EMBEDDING_URL: 'localhost:8000' }), /EMBEDDING_URL must be a URL/);
  const key = join(t.testdir({ key: 'sk-1\n' }), 'key');
  t.match(readSettings({ ...server, EMBEDDING_API_KEY_FILE: key }), { EMBEDDING_API_KEY: 'sk-1' });
});

t.test('takes the limits themselves', async (t) => {
  t.equal(
    complaint({ PORT: '65535', GPU_BASE_PORT: '65528', RAG_TOP_K: '100', RAG_MAX_DISTANCE: '0' }),
    null,
  );
  t.equal(complaint({ GPU_CONCURRENCY: '9999', CHROMA_URL: 'https://chroma.test/base' }), null);
  t.equal(readSettings({ RAG_MAX_DISTANCE: '0.25' }).RAG_MAX_DISTANCE, 0.25);
  t.equal(readSettings({ GPU_COUNT: '0' }).GPU_COUNT, 0);
  t.equal(readSettings({ GPU_COUNT: '1024' }).GPU_COUNT, 1024);
});

t.test('secrets come from files too, without the newline that editors add', async (t) => {
  const dir = t.testdir({ key: 's3cret\n', empty: '\n' });
  t.equal(readSettings({ GPU_API_KEY_FILE: join(dir, 'key') }).GPU_API_KEY, 's3cret');
  t.equal(readSettings({ CHROMA_API_KEY_FILE: join(dir, 'key') }).CHROMA_API_KEY, 's3cret');
  t.equal(readSettings({ GPU_API_KEY: '', GPU_API_KEY_FILE: join(dir, 'key') }).GPU_API_KEY, 's3cret');
  t.equal(readSettings({ GPU_API_KEY_FILE: join(dir, 'empty') }).GPU_API_KEY, undefined, 'empty: unset');
  t.match(
    complaint({ GPU_API_KEY: 'a', GPU_API_KEY_FILE: join(dir, 'key') }),
    /GPU_API_KEY_FILE are both set/,
  );
  t.match(complaint({ GPU_API_KEY_FILE: join(dir, 'none') }), /GPU_API_KEY_FILE cannot be read/);
});

t.test('no complaint tells a secret', async (t) => {
  const file = join(t.testdir(), 'key');
  writeFileSync(file, 's3cret');
  const message = complaint({ CHROMA_API_KEY: 's3cret', GPU_API_KEY_FILE: file, PORT: 'x', CHROMA_URL: 'x' });
  t.match(message, /PORT/);
  t.notMatch(message, /s3cret/);
});

t.test('the embedded model and a list of model servers exclude each other', async (t) => {
  t.match(complaint({ EMBEDDED_MODEL: 'on', GPU_ENDPOINTS: 'http://a' }), /exclude each other/);
  t.equal(complaint({ EMBEDDED_MODEL: 'on', GPU_ENDPOINTS: '' }), null);
  t.equal(complaint({ EMBEDDED_MODEL: 'off', GPU_ENDPOINTS: 'http://a' }), null);
});

t.test('whatever the environment holds, it gives settings within their bounds or one complaint', async () => {
  const names = Object.keys(settingsSchema.properties);
  const values = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom(
      '',
      ' ',
      '0',
      '-0',
      '1',
      '1e3',
      '0x10',
      'null',
      'true',
      'NaN',
      'Infinity',
      'on',
      'auto',
      '[]',
    ),
    fc.integer().map(String),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...names), values, { maxKeys: 4 }), (environment) => {
      try {
        const settings = readSettings(environment);
        return (
          Number.isInteger(settings.PORT) &&
          settings.PORT <= 65_535 &&
          Number.isInteger(settings.RAG_TOP_K) &&
          settings.RAG_TOP_K >= 1 &&
          Number.isInteger(settings.GENERATION_TIMEOUT_MS)
        );
      } catch (error) {
        return error instanceof RagmillError && error.code === 'config_invalid';
      }
    }),
    { numRuns: 100 },
  );
});

t.test('every setting says what it means', async (t) => {
  for (const [name, schema] of Object.entries(settingsSchema.properties)) {
    t.ok('description' in schema && schema.description !== '', name);
  }
});
