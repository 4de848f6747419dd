// Templates, citations and cut prompts through the real service: what the server got is what the line shows.

import t, { type Test } from 'tap';
import type { ChatBody } from '../fakes/fake-chat.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { type ResultLine, startService } from '../fakes/running-service.ts';

const CHROMA_URL = await chromaUrl(t);

/** Has a word of each document. */
const QUERY = 'Which of lens, glaciers, flour, maple and stars?';

type Result = ResultLine & {
  readonly citations: readonly { readonly label: string; readonly id: string; readonly chunk: number }[];
  readonly unknown_citations?: readonly string[];
  readonly rag: { readonly context_cut?: { readonly passages_used: number } } | null;
};

async function setup(t: Test, settings: Readonly<Record<string, string>> = {}) {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, {
    CHROMA_URL,
    GPU_ENDPOINTS: `gpu-a=${server.url}`,
    GPU_CONCURRENCY: '1',
    ...settings,
  });
  /** Runs one line; answers its result, what the server got for it last, and what the line shows as its prompt. */
  const run = async (line: object, query = '') => {
    const { id } = await service.upload(JSON.stringify({ custom_id: 'q1', query: QUERY, ...line }), query);
    const [result] = (await service.allResults(id)) as Result[];
    const view = await service.get<{ runs: { prompt: ChatBody | null }[] }>(`/batches/${id}/lines/1`);
    const {
      stream: _1,
      stream_options: _2,
      ...sent
    } = server.requests.at(-1)?.body ?? { model: '', messages: [] };
    return { result, sent, shown: view.runs.at(-1)?.prompt };
  };
  return { server, service, run };
}

t.test('the order of the passages in a prompt, and the line that shows it as it was sent', async (t) => {
  const { run } = await setup(t);
  const query = 'What about keeper lens, ice valleys, starter flour?';
  const labels = ({ messages }: ChatBody) =>
    [...String(messages.at(-1)?.content).matchAll(/<passage id="([^"]+)"/g)].map(([, label]) => label);
  const ranked = labels((await run({ query }, '?top_k=3')).sent);
  t.equal(ranked.length, 3);
  const { result, sent, shown } = await run({ query }, '?top_k=3&context_order=pin_top');
  t.same(labels(sent).at(-1), ranked[0], 'the best one stands next to the question');
  t.same(labels(sent).toSorted(), ranked.toSorted());
  t.same(shown, sent);
  const documents = (result as unknown as { rag: { documents: { id: string; chunk: number }[] } }).rag
    .documents;
  t.same(
    documents.map(({ id, chunk }) => `${id}#${chunk}`),
    ranked,
    'the result lists them as they were ranked',
  );
});

t.test('a template makes the message, of the batch or of the line', async (t) => {
  const { run, service } = await setup(t);
  const template = encodeURIComponent('Use:\n{context}\n\nQ: {question}\nA:');
  const { result, sent, shown } = await run({ query: 'What about keeper lens?' }, `?template=${template}`);
  t.equal(result?.status, 'succeeded');
  t.same(shown, sent);
  t.match(
    sent.messages[1]?.content,
    /^Use:\n<context>\n<passage id="lens#0"[\s\S]*<\/context>\n\nQ: What about keeper lens\?\nA:$/,
  );
  const own = await run({ template: '{context}\n{question}' }, `?template=${template}&rag_mode=off`);
  t.equal(own.sent.messages[1]?.content, QUERY);
  t.same(own.shown, own.sent);
  const nothing = await run({ query: 'xyzzy?' }, `?template=${template}`);
  t.match(nothing.result?.rag, { status: 'soft_failure' });
  t.equal(nothing.sent.messages[1]?.content, 'Q: xyzzy?\nA:');
  t.match((await service.get<{ data: object[] }>('/batches')).data[0], {
    options: { template: 'Use:\n{context}\n\nQ: {question}\nA:' },
  });
});

t.test('a template that cannot be filled is refused at upload, and says what to do', async (t) => {
  const { service } = await setup(t);
  for (const query of ['?template=hello', '?dry_run=true&template={question}{context}']) {
    const answer = await service.post('{"custom_id":"q1","query":"why?"}', query);
    t.equal(answer.status, 400);
    t.match(await answer.json(), { code: 'invalid_option', detail: /^"template" must have \{context\}/ });
  }
});

t.test('citations are checked against the passages of the prompt', async (t) => {
  const { server, run } = await setup(t);
  server.respond({ kind: 'answer', text: 'By hand [lens#0, lens#0], and not [lens#7] [1].' });
  const { result } = await run({ query: 'What about keeper lens?' });
  t.same(result?.citations, [{ label: 'lens#0', id: 'lens', chunk: 0 }]);
  t.same(result?.unknown_citations, ['lens#7']);
  server.respond({ kind: 'answer', text: 'By hand.' });
  const plain = await run({ query: 'What about keeper lens?' });
  t.same(plain.result?.citations, []);
  t.notOk('unknown_citations' in (plain.result ?? {}));
});

t.test(
  'a prompt is cut to what the model can take, the result says so, and the line shows it exactly',
  async (t) => {
    const { server, service, run } = await setup(t, { MODEL_CONTEXT_TOKENS: '256' });
    const short = { system_prompt: 'Be brief.', max_tokens: 32 };
    const cut = await run(short);
    t.equal(cut.result?.rag?.documents.length, 5, 'all that was retrieved');
    const used = cut.result?.rag?.context_cut?.passages_used ?? 0;
    t.ok(used > 0 && used < 5);
    t.equal(String(cut.sent.messages[1]?.content).split('<passage ').length - 1, used);
    t.same(cut.shown, cut.sent);
    t.equal(await service.metric('ragmill_context_cuts_total{reason="budget"}'), 1);
    server.respond(({ body }) =>
      String(body.messages[1]?.content).includes('<passage ')
        ? {
            kind: 'status',
            status: 400,
            body: { error: { message: 'maximum context length is 256 tokens' } },
          }
        : { kind: 'answer' },
    );
    const failed = await run(short);
    t.match(failed.result, {
      status: 'failed',
      error: { code: 'generation_rejected' },
      generation: { attempts: 1 },
    });
    t.same(failed.shown, failed.sent, 'the second prompt, which is shorter');
  },
);

t.test('a batch that asks for context gets no answer without, for want of room either', async (t) => {
  const { run } = await setup(t, { MODEL_CONTEXT_TOKENS: '256' });
  const line = { system_prompt: 'Be brief. '.repeat(44), max_tokens: 32 };
  const { result } = await run(line, '?on_no_context=fail');
  t.match(result, { status: 'failed', error: { code: 'no_context', stage: 'rag' } });
});

t.test('a refusal for length costs no attempt and no endpoint', async (t) => {
  const { server, service, run } = await setup(t);
  server.respond(({ body }) =>
    String(body.messages[1]?.content).length > 400
      ? {
          kind: 'status',
          status: 400,
          body: { error: { message: 'the input length exceeds the context length' } },
        }
      : { kind: 'answer' },
  );
  const { result, sent, shown } = await run({});
  t.match(result, {
    status: 'succeeded',
    generation: { attempts: 1 },
    rag: { context_cut: { passages_used: Number } },
  });
  t.same(shown, sent);
  t.equal(await service.metric('ragmill_context_cuts_total{reason="refused"}'), 1);
  t.equal(await service.metric('ragmill_endpoint_requests_total{endpoint="gpu-a",class="request"}'), 0);
});
