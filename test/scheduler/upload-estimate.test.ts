// Dry runs: the sums are what an upload of these lines with these options would come to.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { BatchOptions } from '../../src/domain/options.ts';
import { UploadDryRun } from '../../src/scheduler/upload-estimate.ts';
import { options } from '../fakes/batch-fixtures.ts';

const SYSTEM_PROMPT = 'Answer from the context.';
const limits = { maxBatchLines: 1000, maxBatchBytes: 10_000_000, maxLineBytes: 1_000_000 };

async function estimate(
  lines: readonly object[],
  chosen: Partial<BatchOptions> = {},
  rate: number | null = null,
) {
  const run = new UploadDryRun({
    limits,
    defaults: options,
    defaultSystemPrompt: SYSTEM_PROMPT,
    passageCharacters: 1000,
    linesPerSecond: rate,
  });
  async function* file() {
    yield Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n'));
  }
  await run.receive(file());
  return run.estimate({ ...options, ...chosen });
}

t.test('a token is four bytes of the question, the system prompt and full passages', async (t) => {
  const lines = [{ custom_id: 'a', query: 'caf\u00e9' }];
  const bytes = Buffer.byteLength('caf\u00e9') + Buffer.byteLength(SYSTEM_PROMPT) + 3 * 1000;
  t.match(await estimate(lines, { topK: 3, maxTokens: 50 }), {
    promptTokens: Math.ceil(bytes / 4),
    maxCompletionTokens: 50,
    seconds: null,
  });
});

t.test('seconds come from the rate of late; bad lines cost none', async (t) => {
  const lines = [{ custom_id: 'a', query: 'why?' }, { custom_id: 'b', query: 'how?' }, { custom_id: 'c' }];
  t.match(await estimate(lines, {}, 0.5), { lines: { valid: 2, invalid: 1 }, seconds: 4 });
});

t.test('an OpenAI line counts its messages and its own limit', async (t) => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'why?' },
  ];
  const line = (id: string, body: object) => ({
    custom_id: id,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { messages, ...body },
  });
  const lines = [
    line('a', { max_tokens: 5 }),
    line('b', { max_completion_tokens: 6, max_tokens: 9 }),
    line('c', {}),
  ];
  t.match(await estimate(lines, { ragMode: 'off', maxTokens: 100 }), {
    promptTokens: Math.ceil((3 * JSON.stringify(messages).length) / 4),
    maxCompletionTokens: 111,
  });
});

t.test('what lines leave open the batch decides, whatever it is', async () => {
  const own = fc.record(
    {
      rag_mode: fc.constantFrom('retrieve' as const, 'off' as const),
      top_k: fc.integer({ min: 1, max: 9 }),
      max_tokens: fc.integer({ min: 1, max: 999 }),
      system_prompt: fc.constantFrom('Short.', 'A longer one, with \u20ac.'),
    },
    { requiredKeys: [] },
  );
  const batch = fc.record({
    ragMode: fc.constantFrom('retrieve' as const, 'off' as const),
    topK: fc.integer({ min: 1, max: 9 }),
    maxTokens: fc.integer({ min: 1, max: 999 }),
    systemPrompt: fc.constantFrom(null, "The batch's own."),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(own, { minLength: 1, maxLength: 20 }), batch, async (owns, chosen) => {
      const lines = owns.map((set, index) => ({ custom_id: `q${index}`, query: 'why is that?', ...set }));
      let bytes = 0;
      let completion = 0;
      for (const set of owns) {
        const prompt = set.system_prompt ?? chosen.systemPrompt ?? SYSTEM_PROMPT;
        bytes += 'why is that?'.length + Buffer.byteLength(prompt);
        if ((set.rag_mode ?? chosen.ragMode) === 'retrieve') bytes += (set.top_k ?? chosen.topK) * 1000;
        completion += set.max_tokens ?? chosen.maxTokens;
      }
      const found = await estimate(lines, chosen);
      assert.equal(found.promptTokens, Math.ceil(bytes / 4));
      assert.equal(found.maxCompletionTokens, completion);
    }),
  );
});
