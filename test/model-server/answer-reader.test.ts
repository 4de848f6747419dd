import t from 'tap';
import { AnswerReader } from '../../src/model-server/answer-reader.ts';

const encoder = new TextEncoder();

function chunk(delta: object, finish_reason: string | null = null, index = 0): string {
  return `data: ${JSON.stringify({ model: 'm', choices: [{ index, delta, finish_reason }] })}\n\n`;
}

function read(text: string | Uint8Array, pieceBytes = Number.POSITIVE_INFINITY): AnswerReader {
  const bytes = typeof text === 'string' ? encoder.encode(text) : text;
  const reader = new AnswerReader();
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    reader.push(bytes.subarray(start, start + pieceBytes));
  }
  reader.end();
  return reader;
}

t.test('puts an answer together that arrives byte by byte, in the middle of characters', async (t) => {
  const text = `${chunk({ content: 'Zürich – ' })}${chunk({ content: '東京 🗼' })}${chunk({}, 'stop')}data: [DONE]\n\n`;
  for (const pieceBytes of [1, 2, 3, 5, 7]) {
    const reader = read(text, pieceBytes);
    t.equal(reader.completion.content, 'Zürich – 東京 🗼');
    t.equal(reader.isComplete, true);
  }
});

t.test('answers with the first of several choices', async (t) => {
  const text = `${chunk({ content: 'b' }, null, 1)}${chunk({ content: 'a' })}${chunk({ content: 'B' }, 'length', 1)}${chunk({ content: 'A' }, 'stop')}`;
  const { completion } = read(text);
  t.equal(completion.content, 'aA');
  t.equal(completion.finishReason, 'stop');
});

t.test('reads no reasoning, and of a list of parts only the texts', async (t) => {
  const parts = [
    { type: 'thinking', thinking: 'hm' },
    { type: 'text', text: 'yes' },
  ];
  const text = `${chunk({ reasoning_content: 'let me see', reasoning: 'x' })}${chunk({ content: parts }, 'stop')}`;
  t.equal(read(text).completion.content, 'yes');
});

t.test('sees that a tool is called, in a stream and in a document', async (t) => {
  const calls = [{ index: 0, id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }];
  const stream = `${chunk({ content: null, tool_calls: calls })}${chunk({}, 'tool_calls')}`;
  t.match(read(stream), { isComplete: true, completion: { hasToolCall: true, content: '' } });
  const message = { role: 'assistant', content: null, tool_calls: calls };
  const document = JSON.stringify({ choices: [{ message, finish_reason: 'tool_calls' }] });
  t.equal(read(document).completion.hasToolCall, true);
  t.equal(read(chunk({ content: 'a', tool_calls: [] }, 'stop')).completion.hasToolCall, false);
});

t.test('reads a document where a stream was asked for', async (t) => {
  const message = { role: 'assistant', content: 'whole' };
  const reader = read(`\n ${JSON.stringify({ choices: [{ message, finish_reason: 'stop' }] }, null, 2)}`, 10);
  t.equal(reader.completion.content, 'whole');
  t.equal(reader.isComplete, true);
});

t.test('reads the counts of tokens, and takes nonsense for unknown', async (t) => {
  const usage = (value: object) =>
    read(`data: ${JSON.stringify({ choices: [], usage: value })}\n\n`).completion.usage;
  const details = {
    prompt_tokens_details: { cached_tokens: 8 },
    completion_tokens_details: { reasoning_tokens: 1 },
  };
  const counts = { promptTokens: 9, completionTokens: 2, cachedTokens: 8, reasoningTokens: 1 };
  t.same(usage({ prompt_tokens: 9, completion_tokens: 2, ...details }), counts);
  t.match(usage({ reasoning_tokens: 7 }), { reasoningTokens: 7 }, 'as SGLang has it');
  t.same(usage({ prompt_tokens: 'NaN', completion_tokens: -1, prompt_tokens_details: null }), {
    promptTokens: null,
    completionTokens: null,
    cachedTokens: null,
    reasoningTokens: null,
  });
});

t.test(
  'is complete with a finish reason, with an end mark or without, and never without the reason',
  async (t) => {
    t.equal(read(chunk({ content: 'a' }, 'stop')).isComplete, true);
    t.match(read(`${chunk({ content: 'a' })}data: [DONE]\n\n`), { isComplete: false, isBrokenOff: true });
    t.equal(read(chunk({ content: 'a' })).isComplete, false);
    t.equal(read('data: [DONE]\n\n').isComplete, false);
  },
);

t.test('an empty finish reason is none, and an empty error is none', async (t) => {
  t.match(read(chunk({ content: 'a' }, '')), { isComplete: false, completion: { finishReason: null } });
  const whole = read(`${chunk({ content: 'a' }, '')}${chunk({ content: 'b' }, 'stop')}${chunk({}, '')}`);
  t.match(whole, { isComplete: true, completion: { content: 'ab', finishReason: 'stop' } });
  t.equal(read('data: {"error":"","choices":[]}\n\n').completion.error, null);
});

t.test('is not complete when a piece in the middle cannot be read', async (t) => {
  const text = `${chunk({ content: 'a' })}data: {"choices":[{"del\n\n${chunk({ content: 'c' }, 'stop')}`;
  t.equal(read(text).isComplete, false);
  const badCounts = `${chunk({ content: 'a' }, 'stop')}data: {"choices":[],"usage":{"prompt_tokens":NaN}}\n\n`;
  t.equal(read(badCounts).isComplete, true, 'bad counts after the answer do not spoil it');
});

t.test('counts events as progress, not comments and not half events', async (t) => {
  const reader = new AnswerReader();
  t.equal(reader.push(encoder.encode(': ping\n\n')), false);
  t.equal(reader.push(encoder.encode('data: {"choices":')), false);
  t.equal(reader.push(encoder.encode('[]}\n\n')), true);
});
