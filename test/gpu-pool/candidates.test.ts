import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { ALL_ROLES } from '../../src/domain/call-stage.ts';
import { RagmillError } from '../../src/errors.ts';
import { parseEndpoints, sequentialCandidates } from '../../src/gpu-pool/candidates.ts';

t.test('reads plain URLs, names, models and kinds', async (t) => {
  t.same(
    parseEndpoints(
      'http://a:8000, fast=https://b.test/llm/v1/ ;model=org/big:7b=q4,,http://[::1]:30000/v1;kind=sglang,',
    ),
    [
      { name: 'gpu-0', url: 'http://a:8000', model: null, kind: null, isExpected: true, roles: ALL_ROLES },
      {
        name: 'fast',
        url: 'https://b.test/llm',
        model: 'org/big:7b=q4',
        kind: null,
        isExpected: true,
        roles: ALL_ROLES,
      },
      {
        name: 'gpu-2',
        url: 'http://[::1]:30000',
        model: null,
        kind: 'sglang',
        isExpected: true,
        roles: ALL_ROLES,
      },
    ],
  );
});

t.test('makes one base URL of all the ways to write it', async (t) => {
  for (const written of [
    'http://a:1',
    'http://a:1/',
    'http://a:1/v1',
    'http://a:1/v1/',
    'HTTP://A:1//v1//',
  ]) {
    t.match(parseEndpoints(written), [{ url: /^http:\/\/a:1$/ }], written);
  }
  t.match(parseEndpoints('http://a/v1/v10'), [{ url: 'http://a/v1/v10' }], 'only a whole /v1 at the end');
});

t.test('refuses what it cannot use, naming the entry and not the key', async (t) => {
  for (const [entry, why] of [
    ['localhost:8000', /http/],
    ['gpu-a', /not a URL/],
    ['fast=', /not a URL/],
    ['http://', /not a URL/],
    ['ftp://a', /http/],
    ['http://a;models=x', /model=<name>/],
    ['http://a;model=', /model=<name>/],
    ['http://a;', /model=<name>/],
    ['http://a;kind=tgi', /kind=<sglang\|vllm\|ollama\|llamacpp\|generic>/],
    ['http://a;kind=', /kind=/],
  ] as const) {
    t.throws(() => parseEndpoints(`http://fine,${entry}`), { code: 'config_invalid', message: why }, entry);
    t.throws(() => parseEndpoints(`http://fine,${entry}`), { message: new RegExp(`"${entry}"`) }, entry);
  }
  t.throws(() => parseEndpoints('http://user:pass@a'), { message: /GPU_API_KEY/ });
});

t.test('a list without an entry is a mistake, not an empty pool', async (t) => {
  for (const list of ['', ',', ' , ,'])
    t.throws(() => parseEndpoints(list), { code: 'config_invalid' }, list);
});

t.test('one server under two names is a mistake', async (t) => {
  t.throws(() => parseEndpoints('a=http://x:1,b=http://x:1/v1'), {
    code: 'config_invalid',
    message: /twice/,
  });
});

t.test('names tell endpoints apart', async (t) => {
  t.throws(() => parseEndpoints('a=http://x,a=http://y'), { code: 'config_invalid' });
  t.throws(
    () => parseEndpoints('gpu-1=http://x,http://y'),
    { code: 'config_invalid' },
    'a given one meets a made one',
  );
});

t.test('what it is given as names, hosts, ports and models comes back, in order', async () => {
  const names = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9._-]{0,20}$/);
  const entries = fc.uniqueArray(
    fc.record({
      name: names,
      host: fc.domain(),
      port: fc.integer({ min: 1024, max: 65_535 }),
      model: fc.option(fc.stringMatching(/^[A-Za-z0-9/:._=-]{1,30}$/)),
      hasV1: fc.boolean(),
    }),
    { selector: (entry) => entry.name, minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(entries, fc.constantFrom(',', ' , ', ',,'), (list, separator) => {
      const text = list
        .map(({ name, host, port, model, hasV1 }) => {
          const setting = model === null ? '' : `;model=${model}`;
          return `${name}=http://${host}:${port}${hasV1 ? '/v1' : ''}${setting}`;
        })
        .join(separator);
      assert.deepEqual(
        parseEndpoints(text),
        list.map(({ name, host, port, model }) => ({
          name,
          url: `http://${host.toLowerCase()}:${port}`,
          model,
          kind: null,
          isExpected: true,
          roles: ALL_ROLES,
        })),
      );
    }),
  );
});

t.test('whatever it is given, it ends as usable endpoints or as a config_invalid', async () => {
  const pieces = fc.constantFrom(
    'http://',
    'a',
    '=',
    ';',
    'model=',
    ',',
    ':',
    '1',
    '/',
    ' ',
    '@',
    '[',
    'é',
    '%',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      try {
        for (const { url, name } of parseEndpoints(parts.join(''))) {
          assert.match(url, /^https?:\/\/[^/]/);
          assert.ok(!url.endsWith('/') && name !== '');
        }
      } catch (error) {
        assert.ok(error instanceof RagmillError && error.code === 'config_invalid', String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

t.test('looks at eight ports in a row, or one a GPU, none of which has to be there', async (t) => {
  const candidates = sequentialCandidates('127.0.0.1', 11_434, 0);
  t.same(
    candidates.map(({ url }) => url),
    Array.from({ length: 8 }, (_, index) => `http://127.0.0.1:${11_434 + index}`),
  );
  t.ok(candidates.every(({ isExpected, model }) => !isExpected && model === null));
  t.equal(new Set(candidates.map(({ name }) => name)).size, 8);
  t.match(sequentialCandidates('::1', 30_000, 1), [{ url: 'http://[::1]:30000' }]);
  t.equal(sequentialCandidates('127.0.0.1', 11_434, 16).length, 16);
  t.equal(sequentialCandidates('127.0.0.1', 65_530, 16).at(-1)?.url, 'http://127.0.0.1:65535');
});
