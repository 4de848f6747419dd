import assert from 'node:assert/strict';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { RagmillError } from '../../src/errors.ts';
import {
  type BadLine,
  checkLine,
  type ParsedLine,
  parseLine,
  parseUploaded,
} from '../../src/scheduler/line-parser.ts';
import { options } from '../fakes/batch-fixtures.ts';

const {
  contextOrder: _1,
  priority: _2,
  onInvalid: _3,
  pauseAfter: _4,
  maxFailures: _5,
  completionWindow: _6,
  ...requestOptions
} = options;
const parse = (line: string | Uint8Array) => parseUploaded(Buffer.from(line), requestOptions);
const parseValue = (value: unknown) => parse(JSON.stringify(value));

function good(t: Test, line: string | Uint8Array): ParsedLine {
  const parsed = parse(line);
  if ('code' in parsed) throw new Error(`${parsed.code}: ${parsed.message}`);
  t.pass('the line is good');
  return parsed;
}

const chat = (body: object, rest: object = {}) => ({
  custom_id: 'q1',
  method: 'POST',
  url: '/v1/chat/completions',
  body,
  ...rest,
});
const asking = (content: unknown) => chat({ messages: [{ role: 'user', content }] });

/** What every line must give: a request that can be run and stored, or a reason from the catalogue. */
function assertIsEnding(parsed: ParsedLine | BadLine): void {
  if ('code' in parsed) {
    assert.equal(new RagmillError(parsed.code, '').status, 422);
    assert.ok(parsed.message.length > 0 && parsed.message.length < 1000, parsed.message);
    assert.ok(parsed.customId === null || [...parsed.customId].length <= 256);
  } else {
    assert.ok(parsed.customId.length > 0 && [...parsed.customId].length <= 256);
    assert.ok(parsed.request.query.trim() !== '');
  }
  // Either way it ends up in a record.
  JSON.stringify(parsed);
}

/** What was taken in is opened, and opened as the same line. */
function assertOpens(text: string): void {
  const raw = Buffer.from(text);
  const opened = parseLine(raw, requestOptions);
  const checked = checkLine(raw);
  if (typeof checked === 'string') {
    assert.equal(opened.customId, checked);
    assert.ok('request' in opened);
    assert.deepEqual(opened, parseUploaded(raw, requestOptions));
  }
  if ('request' in opened && opened.request.query === '') assert.equal(opened.options.ragMode, 'off');
}

const hostile = fc.constantFrom(
  '__proto__',
  'constructor',
  'toString',
  'custom_id',
  'query',
  'body',
  'messages',
  'role',
  'user',
  'content',
  'type',
  'text',
  'metadata',
  'model',
  'top_k',
  '\ud800',
  '\0',
  '',
  ' ',
);
const hostileJson = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    hostile,
    fc.constantFrom(null, true, 0, -1, 1e308, 2 ** 53),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc
    .array(fc.tuple(hostile, tie('value')), { maxLength: 5 })
    .map((entries) => Object.fromEntries(entries)),
})).value;

t.test('every sequence of bytes is a good line or a bad one with its reason', async () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => assertIsEnding(parse(bytes))));
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => assertIsEnding(parse(text))));
  fc.assert(fc.property(fc.json(), (text) => assertIsEnding(parse(text))));
});

t.test('so is every value in every place of a line', async () => {
  const places = [
    (value: unknown) => value,
    (value: unknown) => ({ custom_id: value, query: 'why?' }),
    (value: unknown) => ({ custom_id: 'q1', query: value }),
    (value: unknown) => ({ custom_id: 'q1', query: 'why?', metadata: value }),
    (value: unknown) => ({ custom_id: 'q1', query: 'why?', top_k: value, model: value, temperature: value }),
    (value: unknown) => ({ custom_id: 'q1', body: value }),
    (value: unknown) => chat({ messages: value }),
    (value: unknown) => chat({ messages: [value] }),
    (value: unknown) => asking(value),
    (value: unknown) => asking([value]),
    (value: unknown) => asking([{ type: 'text', text: value }]),
    (value: unknown) => chat({ messages: [{ role: value, content: value }], model: value, tools: value }),
  ];
  fc.assert(
    fc.property(fc.constantFrom(...places), hostileJson, (put, value) => {
      const line = JSON.stringify(put(value)) ?? '';
      assertIsEnding(parse(line));
      assertOpens(line);
    }),
    { numRuns: 1500 },
  );
});

t.test('says which way a line is not JSON', async (t) => {
  for (const [line, code] of [
    ['', 'line_not_json'],
    ['hello', 'line_not_json'],
    ['{"custom_id":"q1","query":"why?"', 'line_not_json'],
    ['{"custom_id":"q1","query":"why?"}{}', 'line_not_json'],
    ['{"custom_id":"q1","query":"a\0b"}', 'line_not_json'],
    ["{'custom_id':'q1'}", 'line_not_json'],
    ['{"custom_id":"q1","query":NaN}', 'line_not_json'],
    ['[]', 'line_not_object'],
    ['null', 'line_not_object'],
    ['"query"', 'line_not_object'],
    ['17', 'line_not_object'],
  ] as const) {
    t.match(parse(line), { code, customId: null }, line);
  }
});

t.test('does not quote the upload back at length', async (t) => {
  const secret = 'hunter2 '.repeat(10_000);
  const parsed = parse(`{"custom_id":"q1","query":"${secret}"`);
  t.match(parsed, { code: 'line_not_json' });
  t.ok('message' in parsed && parsed.message.length < 200);
});

t.test('refuses bytes that are not UTF-8, and goes on as if nothing had been', async (t) => {
  const line = '{"custom_id":"q1","query":"é"}';
  t.match(parse(Buffer.from(line, 'latin1')), { code: 'line_not_utf8' });
  t.match(parse(Buffer.from([0xff, 0xfe, 0x7b, 0])), { code: 'line_not_utf8' }, 'UTF-16');
  t.match(parse(Buffer.from(line).subarray(0, -3)), { code: 'line_not_utf8' }, 'a character cut in two');
  t.equal(good(t, line).request.query, 'é');
});

t.test('takes a byte order mark, which editors put before the first line', async (t) => {
  t.equal(good(t, '\ufeff{"custom_id":"q1","query":"why?"}').customId, 'q1');
});

t.test('fills in the options of the batch, and lets the line override them', async (t) => {
  t.same(good(t, '{"custom_id":"q1","query":"why?"}').options, requestOptions);
  const line = {
    custom_id: 'q1',
    query: 'why?',
    rag_mode: 'off',
    top_k: 100,
    max_distance: 0,
    where: { year: { $gte: 2020 } },
    on_no_context: 'fail',
    model: 'm',
    max_tokens: 1,
    temperature: 2,
    system_prompt: 's',
    template: '{context} {question}',
  };
  t.same(good(t, JSON.stringify(line)).options, {
    ragMode: 'off',
    topK: 100,
    maxDistance: 0,
    where: { year: { $gte: 2020 } },
    onNoContext: 'fail',
    model: 'm',
    maxTokens: 1,
    temperature: 2,
    systemPrompt: 's',
    template: '{context} {question}',
  });
});

t.test('a template that cannot be filled makes a bad line, and says what to do', async (t) => {
  const line = { custom_id: 'q1', query: 'why?' };
  for (const template of ['{context}', '{question} {context}', '{{context}} {{question}}']) {
    const parsed = parseLine(Buffer.from(JSON.stringify({ ...line, template })), requestOptions);
    t.match(parsed, { code: 'invalid_field', customId: 'q1', message: /^The field "template" must have/ });
  }
});

t.test('a filter that Chroma would refuse makes a bad line, and says what to do', async (t) => {
  const line = { custom_id: 'q1', query: 'why?' };
  for (const [where, says] of [
    [{}, /name a field/],
    [{ a: 1, b: 2 }, /\$and/],
    [{ a: { $like: 'x' } }, /unknown operator "\$like"/],
    [{ a: { $gt: 'x' } }, /with a number/],
    [{ a: { $in: [] } }, /list of values/],
    [{ a: null }, /a text, a number/],
    [{ $and: [{ a: 1 }] }, /two filters or more/],
    [{ $where: 'x' }, /operator "\$where" where a field belongs/],
    ['lang', /must be object/],
  ] as const) {
    const parsed = parseLine(Buffer.from(JSON.stringify({ ...line, where })), requestOptions);
    t.match(parsed, { code: 'invalid_field', customId: 'q1', message: says }, JSON.stringify(where));
  }
  const good = {
    $or: [{ lang: 'en' }, { $and: [{ year: { $gte: 2020 } }, { kind: { $nin: ['a', 'b'] } }] }],
  };
  t.match(parseLine(Buffer.from(JSON.stringify({ ...line, where: good })), requestOptions), {
    customId: 'q1',
  });
});

t.test('names the field that is missing or wrong, and keeps the custom_id', async (t) => {
  const line = { custom_id: 'q1', query: 'why?' };
  for (const [value, code, field] of [
    [{ query: 'why?' }, 'missing_field', 'custom_id'],
    [{ custom_id: 'q1' }, 'missing_field', 'query'],
    [{ ...line, query: ' \t' }, 'invalid_field', 'query'],
    [{ ...line, query: null }, 'invalid_field', 'query'],
    [{ ...line, query: ['why?'] }, 'invalid_field', 'query'],
    [{ ...line, custom_id: '' }, 'invalid_field', 'custom_id'],
    [{ ...line, custom_id: 7 }, 'invalid_field', 'custom_id'],
    [{ ...line, top_k: 0 }, 'invalid_field', 'top_k'],
    [{ ...line, top_k: '5' }, 'invalid_field', 'top_k'],
    [{ ...line, top_k: 1.5 }, 'invalid_field', 'top_k'],
    [{ ...line, temperature: -0.1 }, 'invalid_field', 'temperature'],
    [{ ...line, rag_mode: 'digests' }, 'invalid_field', 'rag_mode'],
    [{ ...chat({}), body: null }, 'invalid_field', 'body'],
    [chat({}), 'missing_field', 'body.messages'],
    [chat({ messages: [] }), 'invalid_field', 'body.messages'],
    [chat({ messages: [null] }), 'invalid_field', 'body.messages.0'],
    [chat({ messages: [{ content: 'why?' }] }), 'missing_field', 'body.messages.0.role'],
    [{ ...asking('why?'), method: 'GET' }, 'invalid_field', 'method'],
    [{ ...asking('why?'), url: '/v1/embeddings' }, 'invalid_field', 'url'],
    [chat({ messages: [{ role: 'user', content: 'why?' }], stream: true }), 'invalid_field', 'body.stream'],
  ] as const) {
    const parsed = parseValue(value);
    t.match(parsed, { code, message: `"${field}"` }, JSON.stringify(value));
    const isNamed = 'custom_id' in value && value.custom_id === 'q1';
    t.equal(parsed.customId, isNamed ? 'q1' : null);
  }
  t.match(parseValue({ ...asking('why?'), url: '/v1/embeddings' }), { message: '/v1/chat/completions' });
});

t.test('refuses numbers that are too large for a number', async (t) => {
  for (const field of ['top_k', 'max_distance', 'temperature', 'max_tokens']) {
    t.match(parse(`{"custom_id":"q1","query":"why?","${field}":1e400}`), { code: 'invalid_field' }, field);
  }
});

t.test('takes custom_ids of 256 characters, whatever they need in memory', async (t) => {
  for (const character of ['x', 'é', '😀']) {
    const id = character.repeat(256);
    t.equal(parseValue({ custom_id: id, query: 'why?' }).customId, id);
    t.equal(parseValue({ custom_id: id }).customId, id, 'also where the line is bad');
    t.match(parseValue({ custom_id: id + character, query: 'why?' }), {
      code: 'invalid_field',
      customId: null,
    });
  }
});

t.test('takes the last of two fields of one name, as JSON readers do', async (t) => {
  t.equal(good(t, '{"custom_id":"q1","query":"first?","query":"last?"}').request.query, 'last?');
});

t.test('keeps metadata of any shape and takes nothing from a prototype', async (t) => {
  const metadata = '{"__proto__":{"query":"no"},"a":[1,{"b":null}]}';
  const parsed = good(t, `{"custom_id":"q1","query":"why?","metadata":${metadata}}`);
  t.equal(JSON.stringify(parsed.metadata), metadata);
  t.equal(good(t, '{"custom_id":"q1","query":"why?"}').metadata, null);
  t.match(parse('{"__proto__":{"custom_id":"q1","query":"no"}}'), { code: 'missing_field' });
  t.match(parse('{"custom_id":"q1","query":"why?","__proto__":{"body":{}}}'), {
    request: { shape: 'native' },
  });
});

t.test('refuses what is nested so deep that no answer could carry it', async (t) => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  const inMetadata = (depth: number) => `{"custom_id":"q1","query":"why?","metadata":${nested(depth)}}`;
  t.match(parse(inMetadata(100_000)), { code: 'invalid_field', message: 'nested', customId: 'q1' });
  t.match(parse(nested(100_000)), { code: 'line_not_object' });
  const body = `{"messages":[{"role":"user","content":"why?"}],"tools":${nested(100_000)}}`;
  const line = `{"custom_id":"q1","method":"POST","url":"/v1/chat/completions","body":${body}}`;
  t.match(parse(line), { code: 'invalid_field', customId: 'q1' });
  t.equal(JSON.stringify(good(t, inMetadata(50)).metadata), nested(50));
});

t.test('reads the question of a chat from its last user message, and leaves the body as it is', async (t) => {
  const body = {
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'first?' },
      { role: 'assistant', tool_calls: [{ id: 'c1' }] },
      { role: 'tool', tool_call_id: 'c1' },
      { role: 'user', content: 'last?' },
      { role: 'assistant', content: null },
    ],
    temperature: 0.5,
    response_format: { type: 'json_object' },
    stream: false,
  };
  t.same(good(t, JSON.stringify(chat(body, { metadata: 1 }))), {
    customId: 'q1',
    request: { shape: 'openai', url: '/v1/chat/completions', query: 'last?', body },
    metadata: 1,
    options: requestOptions,
    own: {},
  });
});

t.test('asks with the text parts of a message and passes over the others', async (t) => {
  const parts = [
    { type: 'text', text: 'What is' },
    { type: 'image_url', image_url: { url: 'http://images.test/1.png' } },
    null,
    { type: 'text', text: 'this?' },
  ];
  t.same(good(t, JSON.stringify(asking(parts))).request.query.split(/\s+/), ['What', 'is', 'this?']);
  for (const content of [
    undefined,
    null,
    '',
    '  ',
    7,
    {},
    [],
    ['text'],
    [{ type: 'image_url' }],
    [{ type: 'text' }],
    [{ type: 'text', text: { toString: 1 } }],
    [{ type: 'text', text: ['a', 'b'] }],
  ]) {
    t.match(parseValue(asking(content)), { code: 'missing_field', customId: 'q1' }, JSON.stringify(content));
  }
});

t.test('looks for an endpoint with the model that the chat names', async (t) => {
  const messages = [{ role: 'user', content: 'why?' }];
  t.equal(good(t, JSON.stringify(chat({ messages, model: 'm' }))).options.model, 'm');
  t.equal(
    parseLine(Buffer.from(JSON.stringify(chat({ messages }))), { ...options, model: 'b' }).customId,
    'q1',
  );
  t.match(parseLine(Buffer.from(JSON.stringify(chat({ messages }))), { ...options, model: 'b' }), {
    options: { model: 'b' },
  });
});

t.test('opens what is no question of a chat, and retrieves nothing for it', async (t) => {
  const bodies: [string, object][] = [
    ['/v1/embeddings', { input: ['why?'], model: 'e' }],
    ['/v1/completions', { prompt: 'why?', messages: [{ role: 'user', content: 'why?' }], model: 'e' }],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: [{ type: 'image_url' }] }], model: 'e' }],
    ['/v1/chat/completions', { messages: [{ content: 'no role' }], model: 'e' }],
    ['/v1/chat/completions', { messages: [], model: 'e' }],
    ['/v1/chat/completions', { model: 'e' }],
  ];
  for (const [url, body] of bodies) {
    const line = Buffer.from(JSON.stringify({ ...chat(body), url }));
    t.strictSame(parseLine(line, { ...requestOptions, ragMode: 'digest' }), {
      customId: 'q1',
      request: { shape: 'openai', url, query: '', body },
      metadata: null,
      options: { ...requestOptions, ragMode: 'off', model: 'e' },
      own: {},
    });
    t.match(checkLine(line), { customId: 'q1' }, 'an upload does not take it');
  }
  for (const [url, body] of [
    ['/v1/responses', {}],
    ['/v1/embeddings', { input: 'why?', stream: true }],
    ['/v1/chat/completions', { messages: ['why?'] }],
    ['/v1/chat/completions', { messages: 'why?' }],
  ]) {
    t.match(parseLine(Buffer.from(JSON.stringify({ ...chat({}), url, body })), requestOptions), {
      code: 'invalid_field',
    });
  }
});

t.test('keeps the body of a chat to the digit where its numbers would change', async (t) => {
  const body = '{"messages":[{"role":"user","content":"1.0"}],"seed":9223372036854775807,"top_p":1.0}';
  const line = (text: string) =>
    `{"custom_id":"q1","method":"POST","url":"/v1/chat/completions","body":${text}}`;
  t.match(good(t, line(body)).request, { exactBody: body });
  t.notOk('exactBody' in good(t, line(body.replace(/,"seed".*/, '}'))).request);
});
