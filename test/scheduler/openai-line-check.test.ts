import t from 'tap';
import type { OpenaiEndpoint } from '../../src/domain/line.ts';
import { parseLine } from '../../src/scheduler/line-parser.ts';
import { OpenaiLineCheck } from '../../src/scheduler/openai-line-check.ts';
import { options } from '../fakes/batch-fixtures.ts';

const messages = [{ role: 'user', content: 'Why?' }];

function checkOf(
  endpoint: OpenaiEndpoint = '/v1/chat/completions',
  known: readonly string[] = ['m'],
  model: string | null = null,
) {
  const check = new OpenaiLineCheck({ endpoint, model, isUnknownModel: (name) => !known.includes(name) });
  return (line: unknown) =>
    check.check(
      Buffer.isBuffer(line) ? line : Buffer.from(typeof line === 'string' ? line : JSON.stringify(line)),
    );
}

function line(change: object = {}, url = '/v1/chat/completions') {
  return { custom_id: 'a', method: 'POST', url, body: { model: 'm', messages }, ...change };
}

t.test('a line that can be run answers its custom_id, and is a line that can be opened', async (t) => {
  const nested = JSON.parse(`${'{"a":'.repeat(98)}1${'}'.repeat(98)}`);
  const lines: [OpenaiEndpoint, object][] = [
    ['/v1/chat/completions', { messages }],
    ['/v1/chat/completions', { messages: [{ role: 'tool', tool_call_id: 'x' }], stream: false }],
    ['/v1/chat/completions', { messages, tools: [], seed: 1, nested }],
    ['/v1/chat/completions', { messages, stream: null }],
    ['/v1/completions', { prompt: 'Once upon' }],
    ['/v1/completions', { prompt: [1, 2, 3] }],
    ['/v1/completions', { prompt: 'Once upon', messages: null, stream: null }],
    ['/v1/embeddings', { input: 'text', dimensions: 3 }],
    ['/v1/embeddings', { input: ['one', 'two'] }],
  ];
  for (const [endpoint, body] of lines) {
    const text = line({ body }, endpoint);
    t.equal(checkOf(endpoint)(text), 'a', JSON.stringify(body).slice(0, 80));
    t.match(parseLine(Buffer.from(JSON.stringify(text)), options), {
      customId: 'a',
      request: { url: endpoint },
    });
  }
});

t.test('what is wrong with a line has its code and its field', async (t) => {
  const deep = JSON.parse(`${'{"a":'.repeat(101)}1${'}'.repeat(101)}`);
  const cases: [unknown, string, string | null][] = [
    ['{', 'invalid_json_line', null],
    ['', 'invalid_json_line', null],
    ['null', 'invalid_json_line', null],
    ['[]', 'invalid_json_line', null],
    [Buffer.from([0x7b, 0xff, 0x7d]), 'invalid_json_line', null],
    [{}, 'missing_required_parameter', 'custom_id'],
    [line({ custom_id: null }), 'missing_required_parameter', 'custom_id'],
    [line({ custom_id: '' }), 'invalid_custom_id', 'custom_id'],
    [line({ custom_id: 7 }), 'invalid_custom_id', 'custom_id'],
    [line({ custom_id: 'x'.repeat(257) }), 'invalid_custom_id', 'custom_id'],
    [line({ method: undefined }), 'missing_required_parameter', 'method'],
    [line({ method: 'post' }), 'invalid_method', 'method'],
    [line({ url: undefined }), 'missing_required_parameter', 'url'],
    [line({ url: '/v1/responses' }), 'invalid_url', 'url'],
    [line({ url: 3 }), 'invalid_url', 'url'],
    [line({ url: '/v1/embeddings' }), 'url_mismatch', 'url'],
    [line({ body: undefined }), 'missing_required_parameter', 'body'],
    [line({ body: [] }), 'invalid_type', 'body'],
    [line({ body: {} }), 'missing_required_parameter', 'body.messages'],
    [line({ body: { messages: [] } }), 'invalid_type', 'body.messages'],
    [line({ body: { messages: 'Why?' } }), 'invalid_type', 'body.messages'],
    [line({ body: { messages: [{ content: 'Why?' }] } }), 'invalid_type', 'body.messages'],
    [line({ body: { messages, stream: true } }), 'streaming_unsupported', 'body.stream'],
    [line({ body: { messages, model: 3 } }), 'invalid_type', 'body.model'],
    [line({ body: { messages, model: 'm'.repeat(257) } }), 'invalid_type', 'body.model'],
    [line({ body: { messages, deep } }), 'invalid_type', 'body'],
    [line({ body: { messages, nested: deep.a.a } }), 'invalid_type', 'body'],
    [line({ extra: deep.a }), 'invalid_type', null],
    [line({ body: { messages, model: 'nobody-has-it' } }), 'model_not_found', 'body.model'],
  ];
  for (const [given, code, param] of cases) {
    t.match(checkOf()(given), { code, param, message: /./ }, `${code} ${param}`);
  }
  t.match(checkOf('/v1/completions')(line({ body: {} }, '/v1/completions')), { param: 'body.prompt' });
  t.match(checkOf('/v1/embeddings')(line({ body: { input: [] } }, '/v1/embeddings')), {
    param: 'body.input',
  });
});

t.test('all lines ask for the same model, or none of them names one', async (t) => {
  const check = checkOf();
  const asking = (model?: string) => check(line({ body: { messages, model } }));
  t.equal(asking('m'), 'a');
  t.match(asking('n'), { code: 'model_mismatch', param: 'body.model', message: /'m'/ });
  t.match(asking(), { code: 'model_mismatch' });
  t.equal(asking('m'), 'a');
  const bare = checkOf();
  t.equal(bare(line({ body: { messages } })), 'a');
  t.match(bare(line()), { code: 'model_mismatch', message: /names none/ });
});

t.test('a model that nobody serves is told once, however many lines ask for it', async (t) => {
  const check = checkOf('/v1/chat/completions', []);
  t.match(check(line()), { code: 'model_not_found' });
  t.equal(check(line()), 'a');
});

t.test('where the lines name no model, that of the options is looked for', async (t) => {
  const bare = line({ body: { messages } });
  const check = checkOf('/v1/chat/completions', ['m'], 'gone');
  t.match(check(bare), { code: 'model_not_found', message: /'gone'/ });
  t.equal(check(bare), 'a');
  t.equal(checkOf('/v1/chat/completions', ['m'], 'm')(bare), 'a');
  t.equal(checkOf('/v1/chat/completions', ['m'], 'gone')(line()), 'a', 'the line has its own');
});
