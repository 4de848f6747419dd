import t from 'tap';
import { lengthRefusal } from '../../src/model-server/length-refusals.ts';

/** What servers say, with the context and the tokens of the prompt where they say so. */
const REFUSALS: readonly (readonly [
  message: string,
  contextTokens: number | null,
  promptTokens: number | null,
])[] = [
  [
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in the messages, 1000 in the completion). Please reduce the length of the messages or completion.",
    4096,
    4000,
  ],
  [
    "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens. Please reduce the length of the input messages.",
    4096,
    5000,
  ],
  ['The decoder prompt (length 9000) is longer than the maximum model length of 8192.', 8192, 9000],
  ["The input (9000 tokens) is longer than the model's context length (8192 tokens).", 8192, 9000],
  [
    "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 9000 tokens: 8000 tokens from the input messages and 1000 tokens for the completion.",
    8192,
    8000,
  ],
  ["The input is longer than the model's context length.", null, null],
  ['request (1234 tokens) exceeds the available context size (1024 tokens), try increasing it', 1024, 1234],
  ['the request exceeds the available context size. try increasing the context size', null, null],
  ['the prompt is longer than the context length currently available to the model', null, null],
  ['the input length exceeds the context length', null, null],
  [
    "This model's maximum context length is 32768 tokens. However, your messages resulted in 40000 tokens.",
    32768,
    40000,
  ],
];

const words = (message: string, type = '') => ({ message, type, status: null });

t.test('knows a refusal for length in the words of each server, and its numbers', async (t) => {
  for (const [message, contextTokens, promptTokens] of REFUSALS) {
    t.same(lengthRefusal('request', words(message)), { contextTokens, promptTokens }, message);
  }
  const byType = words('too big', 'invalid_request_error context_length_exceeded');
  t.same(lengthRefusal('request', byType), { contextTokens: null, promptTokens: null });
});

t.test('takes no other refusal for one', async (t) => {
  for (const message of [
    'Invalid grammar.',
    "The model's context is wrong",
    'max_tokens must be at least 1',
    'image is too large: 4096 tokens',
    'context 4096',
  ]) {
    t.equal(lengthRefusal('request', words(message)), null, message);
  }
  t.equal(lengthRefusal('ambiguous', words(String(REFUSALS[0]?.[0]))), null, 'not a refusal at all');
});
