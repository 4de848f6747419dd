import fc from 'fast-check';
import t from 'tap';
import {
  type CountedPrompt,
  isContextTruncated,
  leastTokens,
} from '../../src/generation/context-truncation.ts';

/**
 * Ordinary text of many kinds, and the tokens of fifty times this text in the tokenizer that needs the fewest, of those
 * of GPT-4o, Gemma 3, Llama 2, Llama 3 and Qwen 3. Counted with these tokenizers.
 */
const SAMPLES: readonly { readonly what: string; readonly text: string; readonly tokens: number }[] = [
  {
    what: 'English',
    text: "I'm sure that a well-known, state-of-the-art method (see below) doesn't fail; it'll be fine. ",
    tokens: 1_151,
  },
  {
    what: 'German',
    text: 'Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt. ',
    tokens: 1_301,
  },
  {
    what: 'Russian',
    text: 'Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью. ',
    tokens: 1_351,
  },
  {
    what: 'Arabic',
    text: 'يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا. ',
    tokens: 1_351,
  },
  {
    what: 'Hindi',
    text: 'सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। ',
    tokens: 1_051,
  },
  {
    what: 'Tamil',
    text: 'மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் மதிப்பிலும் உரிமைகளிலும் சமமானவர்கள். ',
    tokens: 1_301,
  },
  {
    what: 'Korean',
    text: '모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. ',
    tokens: 1_102,
  },
  {
    what: 'Chinese',
    text: '人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。',
    tokens: 1_350,
  },
  {
    what: 'Japanese',
    text: 'すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。',
    tokens: 1_050,
  },
  {
    what: 'Thai',
    text: 'มนุษย์ทั้งปวงเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม ',
    tokens: 1_751,
  },
  {
    what: 'Burmese',
    text: 'လူတိုင်းသည် တူညီလွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်လည်းကောင်း မွေးဖွားလာသူများဖြစ်သည်။ ',
    tokens: 1_551,
  },
  {
    what: 'code',
    text: 'for (const [key, value] of Object.entries(map)) { total += value?.length ?? 0; } // sum\n',
    tokens: 1_350,
  },
  { what: 'a table', text: '| 1.50 | 2,000 | x-y |\n|------|-------|-----|\n', tokens: 1_050 },
  {
    what: 'empty space and rules',
    text: `a${' '.repeat(32)}b${'\n'.repeat(8)}${'-'.repeat(32)}\n`,
    tokens: 300,
  },
  { what: 'addresses', text: 'https://www.example.org/a/b_c?q=1&r=two#three ', tokens: 801 },
];
const REPEATS = 50;
const ENGLISH = SAMPLES[0]!;

function judge(content: string, changes: Partial<CountedPrompt> = {}): boolean {
  return isContextTruncated({
    serverKind: 'ollama',
    contextTokens: null,
    messages: [{ role: 'user', content }],
    promptTokens: null,
    ...changes,
  });
}

/** English of about so many tokens: never more than a few of them off. */
function english(tokens: number): string {
  return ENGLISH.text.repeat(Math.ceil((tokens * REPEATS) / ENGLISH.tokens));
}

t.test('no text has more tokens at the least than in any tokenizer', async (t) => {
  for (const { what, text, tokens } of SAMPLES) t.ok(leastTokens([text.repeat(REPEATS)]) <= tokens, what);
});

t.test('English has nearly as many at the least as in the leanest tokenizer', async (t) => {
  const { text, tokens } = ENGLISH;
  t.ok(leastTokens([text.repeat(REPEATS)]) > tokens * 0.8);
});

t.test('a prompt that was cut to the context, or to half of it, is seen', async (t) => {
  for (const contextTokens of [2_048, 4_096, 5_000, 32_768]) {
    for (const factor of [1.05, 1.5, 10]) {
      for (const promptTokens of [contextTokens, contextTokens - 1, contextTokens / 2 + 2]) {
        t.equal(
          judge(english(contextTokens * factor), { contextTokens, promptTokens }),
          true,
          `${factor} times ${contextTokens}, counted as ${promptTokens}`,
        );
      }
    }
  }
});

t.test('so is one whose passages were dropped with their message', async (t) => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: english(6_000) },
    { role: 'user', content: [{ type: 'text', text: 'Why?' }] },
  ];
  t.equal(judge('', { messages, contextTokens: 4_096, promptTokens: 30 }), true);
});

t.test('in other scripts it takes more to be sure, and is seen all the same', async (t) => {
  for (const { what, text, tokens } of SAMPLES) {
    if (what === 'empty space and rules') continue;
    const content = text.repeat(Math.ceil((4_096 * 3 * REPEATS) / tokens));
    t.equal(judge(content, { contextTokens: 4_096, promptTokens: 4_000 }), true, what);
  }
});

t.test('no prompt that fits is taken for a cut one, in whatever language and tokenizer', async () => {
  const anySample = fc.constantFrom(...SAMPLES);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(anySample, fc.integer({ min: 1, max: 200 })), { minLength: 1, maxLength: 5 }),
      fc.double({ min: 1, max: 5, noNaN: true }),
      fc.option(fc.integer({ min: 2, max: 20_000 })),
      fc.constantFrom('ollama', 'generic', 'sglang', 'vllm', 'llamacpp'),
      (parts, leanness, roomTokens, serverKind) => {
        const least = parts.reduce((sum, [{ tokens }, times]) => sum + (tokens / REPEATS) * times, 0);
        const promptTokens = Math.ceil(least * leanness);
        const contextTokens = roomTokens === null ? null : promptTokens + roomTokens;
        const content = parts.map(([{ text }, times]) => text.repeat(times)).join('');
        return !judge(content, { serverKind, contextTokens, promptTokens });
      },
    ),
    { numRuns: 300 },
  );
});

t.test('a small count proves nothing where the prompt fits, or where the context is not known', async (t) => {
  const reduced = (promptTokens: number | null) => {
    for (const content of [english(100), english(1_500), english(3_000)]) {
      t.equal(judge(content, { contextTokens: 4_096, promptTokens }), false);
    }
    t.equal(judge(english(20_000), { contextTokens: null, promptTokens }), false);
  };
  // An old Ollama counts only what it had not cached, and leaves out a count of nothing.
  for (const promptTokens of [null, 0, 1, 17, 500, 1_024, 2_047, 2_049, 2_500, 4_094]) reduced(promptTokens);
});

t.test(
  'where the context is not known, a count that is exactly a usual one gives a cut prompt away',
  async (t) => {
    for (const promptTokens of [2_048, 4_096, 8_192]) {
      t.equal(judge(english(20_000), { promptTokens }), true);
      t.equal(judge(english(promptTokens), { promptTokens }), false, 'it may have so many');
      t.equal(judge(english(20_000), { promptTokens, serverKind: 'generic' }), false);
    }
  },
);

t.test('a count above the context says that the context is another one', async (t) => {
  t.equal(judge(english(6_000), { contextTokens: 4_096, promptTokens: 6_100 }), false);
});

t.test('servers that refuse long prompts do not cut them', async (t) => {
  for (const serverKind of ['sglang', 'vllm', 'llamacpp'] as const) {
    t.equal(judge(english(9_000), { serverKind, contextTokens: 4_096, promptTokens: 4_096 }), false);
  }
  t.equal(judge(english(9_000), { serverKind: 'generic', contextTokens: 4_096, promptTokens: 4_000 }), true);
});

t.test('does not count what a template may drop: reasoning of the assistant, images, nonsense', async (t) => {
  const long = english(9_000);
  const messages = [
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: `<think>${long}</think>Hi` },
    { role: 'user', content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${long}` } }] },
    { role: 'user', content: { text: long } },
    { role: 'user', content: [null, 7, { text: 8 }] },
    { role: 'user', content: null },
  ];
  t.equal(judge('', { messages, contextTokens: 4_096, promptTokens: 900 }), false);
});

t.test('counts in linear time', async (t) => {
  for (const piece of ['-', '- ', '-a', 'a', '一', "'", '\u0301']) {
    t.ok(leastTokens([piece.repeat(1_000_000)]) <= 1_000_000);
  }
});
