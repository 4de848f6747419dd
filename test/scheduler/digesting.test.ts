// What follows from how a digest ends, and how the two stages share the pool.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { FailureClass } from '../../src/domain/failure.ts';
import type { GenerationOutcome } from '../../src/domain/generation.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import {
  APART,
  ATTEMPTS_MAX,
  DIGEST_TEXT,
  DigestWorld,
  digestSuccess,
  found as foundPassages,
  OUTAGE_MS,
  SHARED,
  turns,
} from '../fakes/digest-world.ts';
import { until } from '../fakes/until.ts';
import { success } from '../fakes/work-fixtures.ts';

async function setup(t: Test, ...of: ConstructorParameters<typeof DigestWorld>): Promise<DigestWorld> {
  const world = await new DigestWorld(...of).open();
  t.teardown(() => world.stop());
  return world;
}

const defaultAnswer = (stage: string) => (stage === 'rag' ? digestSuccess : success);
const failure = (failureClass: FailureClass, code = 'generation_failed' as const) =>
  modelFailure(failureClass, `it was ${failureClass}`, { code });
const digestEnds = (outcome: GenerationOutcome) => (call: { stage: string }) =>
  call.stage === 'rag' ? outcome : success;

t.test('the passages go to the RAG model, and its digest to the model that answers', async (t) => {
  const world = await setup(t, APART, { ragModel: null });
  world.models.reads = ['reader'];
  world.models.answers = ['writer'];
  await world.clock.advance(10_000);
  world.begin(1, { model: 'writer', temperature: 1, maxTokens: 7, systemPrompt: 'Be brief.' });
  await world.ended(1);
  t.match(world.calls, [
    {
      endpoint: 'reads',
      task: {
        model: 'reader',
        passages: [{ text: 'The lens.' }],
        digest: null,
        maxTokens: 99,
        temperature: 0,
      },
    },
    {
      endpoint: 'answers',
      task: { model: 'writer', passages: [], digest: DIGEST_TEXT, maxTokens: 7, systemPrompt: 'Be brief.' },
    },
  ]);
  t.match(world.records, [
    {
      record: {
        status: 'succeeded',
        rag: 'success',
        promptTokens: 24,
        completionTokens: 6,
        details: {
          attempts: [{ endpoint: 'answers', ending: 'success' }],
          model: 'writer',
          digest: {
            text: DIGEST_TEXT,
            model: 'reader',
            maxTokens: 99,
            attempts: [{ endpoint: 'reads', ending: 'success' }],
          },
        },
      },
      body: {
        rag: {
          status: 'success',
          attempts: 1,
          collection_generation: 3,
          documents: [{ id: 'lens' }],
          digest: { attempts: 1, endpoint: 'reads', model: 'reader', usage: { prompt_tokens: 12 } },
        },
        generation: { attempts: 1, endpoint: 'answers' },
        usage: { prompt_tokens: 24, completion_tokens: 6, cached_tokens: null },
      },
    },
  ]);
  t.same(world.marked, [1], 'the line is marked as started once, before the digest');
});

t.test('what can be used of no digest leaves the question alone, and says so', async (t) => {
  const unusable: Record<string, GenerationOutcome> = {
    digest_refused: { ...digestSuccess, answer: ' NO CONTEXT.\n' },
    digest_cut: { ...digestSuccess, finishReason: 'length' },
    digest_too_short: { ...digestSuccess, answer: 'Yes. [a-long-document-name#17]' },
  };
  for (const [code, outcome] of Object.entries(unusable)) {
    const world = await setup(t);
    world.respond = digestEnds(outcome);
    world.begin(1);
    await world.ended(1);
    t.match(world.records, [
      {
        record: {
          status: 'succeeded',
          rag: 'soft_failure',
          promptTokens: 24,
          details: { digest: { text: null } },
        },
        body: { rag: { status: 'soft_failure', code, attempts: 1, documents: [] }, answer: 'forty-two' },
      },
    ]);
    t.match(world.callsOf('generation'), [{ task: { passages: [], digest: null } }], code);
    t.equal(world.calls.length, 2, 'and is not asked for again');
  }
});

t.test('a RAG model that says nothing is asked once; one that refuses, at three endpoints', async (t) => {
  const silent = await setup(t);
  silent.respond = digestEnds(modelFailure('ambiguous', 'nothing', { code: 'empty_answer' }));
  silent.begin(1);
  await silent.ended(1);
  t.match(silent.records, [
    { body: { status: 'succeeded', rag: { code: 'digest_too_short', attempts: 1 } } },
  ]);
  t.equal(silent.callsOf('rag').length, 1);

  const names = ['a', 'b', 'c', 'd'].map((name) => [name, ['rag', 'generation'] as const]);
  const refusing = await setup(t, Object.fromEntries(names));
  refusing.respond = digestEnds(modelFailure('request', 'too long'));
  refusing.begin(1);
  await refusing.ended(1);
  t.match(refusing.records, [
    { body: { status: 'succeeded', rag: { code: 'digest_refused', message: 'too long' } } },
  ]);
  t.equal(refusing.callsOf('rag').length, 3);
  t.equal(refusing.callsOf('generation').length, 1);
});

t.test('with on_no_context=fail a digest that cannot be used fails the line', async (t) => {
  const world = await setup(t);
  world.respond = digestEnds({ ...digestSuccess, answer: 'NO CONTEXT' });
  world.begin(1, { onNoContext: 'fail' });
  await world.ended(1);
  t.match(world.records, [
    {
      record: { status: 'failed', code: 'no_context', stage: 'rag', rag: 'soft_failure', promptTokens: 12 },
      body: { error: { stage: 'rag' }, generation: null, usage: { prompt_tokens: 12 } },
    },
  ]);
  t.equal(world.callsOf('generation').length, 0);
});

t.test('a server that fails for as long as the line may try is a hard failure', async (t) => {
  const codes = {
    generation_failed: 'rag_failed',
    generation_timeout: 'rag_timeout',
    generation_stalled: 'rag_timeout',
    generation_invalid: 'rag_failed',
  } as const;
  for (const [code, ragCode] of Object.entries(codes)) {
    const world = await setup(t);
    world.respond = digestEnds(modelFailure('ambiguous', 'broken', { code: code as keyof typeof codes }));
    world.begin(1);
    await world.ended(1);
    t.match(world.records, [
      {
        record: { status: 'failed', code: ragCode, stage: 'rag', rag: 'hard_failure' },
        body: {
          rag: { status: 'hard_failure', code: ragCode, attempts: ATTEMPTS_MAX, documents: [] },
          generation: null,
        },
      },
    ]);
    t.equal(world.callsOf('rag').length, ATTEMPTS_MAX);
    t.equal(world.callsOf('generation').length, 0, 'generation is skipped');
    t.match(
      world.recording.lines.find(({ msg }) => msg.startsWith('a digest failed')),
      { batch: 'b1', line: 1, code: ragCode, message: 'broken' },
      'and it is logged',
    );
  }
});

t.test('without passages nobody is asked for a digest', async (t) => {
  const world = await setup(t);
  const nothing = { kind: 'soft_failure', code: 'nothing_found', message: 'nothing' } as const;
  world.retrieve = () => ({ ...nothing, attempts: 1, collectionGeneration: 3 });
  const chunk = world.begin(2);
  await world.ended(2);
  t.same(
    world.calls.map(({ stage }) => stage),
    ['generation', 'generation'],
  );
  t.match(world.records[0]?.body.rag, { status: 'soft_failure', code: 'nothing_found' });
  t.equal(world.records[0]?.body.rag.digest, undefined);
  t.equal(chunk.digestLines, 0);
});

t.test('a line that has not started forgets what it found in a build that was replaced', async (t) => {
  const nothing = { kind: 'soft_failure', code: 'nothing_found', message: 'nothing', attempts: 1 } as const;
  const world = new DigestWorld(APART);
  t.teardown(() => world.stop());
  world.away.add('reads').add('answers');
  await world.open();
  const found = world.begin(1);
  world.retrieve = () => ({ ...nothing, collectionGeneration: 3 });
  const notFound = world.begin(1, {}, 'b2');
  await turns();
  t.same([found.digestLines, notFound.digestLines], [1, 0]);
  world.generation = 4;
  world.retrieve = () => ({ ...nothing, collectionGeneration: 4 });
  world.runner.retrieveAgain();
  await turns();
  t.same([found.digestLines, notFound.digestLines], [0, 0]);
  world.away.clear();
  await world.ended(2);
  for (const { record } of world.records) {
    t.match(record, { rag: 'soft_failure', collectionGeneration: 4 });
    t.same(record.details?.passages, [], 'no passages of a build that is gone');
  }
});

t.test('a question without passages asks for its digest once a new build has some', async (t) => {
  const world = new DigestWorld(APART);
  t.teardown(() => world.stop());
  world.away.add('answers');
  world.retrieve = () => ({
    kind: 'soft_failure',
    code: 'nothing_found',
    message: 'nothing',
    attempts: 1,
    collectionGeneration: 3,
  });
  await world.open();
  world.begin(1);
  await turns();
  world.generation = 4;
  world.retrieve = () => ({ ...foundPassages, collectionGeneration: 4 });
  world.runner.retrieveAgain();
  world.away.clear();
  await world.ended(1);
  t.match(world.records, [{ record: { status: 'succeeded', rag: 'success', collectionGeneration: 4 } }]);
  t.same(
    world.calls.map(({ stage }) => stage),
    ['rag', 'generation'],
  );
});

t.test('a RAG model that nobody serves is said to be missing', async (t) => {
  const world = await setup(t, APART, { ragModel: 'rare' });
  world.begin(1);
  await world.ended(1);
  t.match(world.records, [
    {
      record: { code: 'rag_misconfigured', rag: 'hard_failure' },
      body: { error: { message: /"rare".*Served: m/ } },
    },
  ]);
  t.equal(world.calls.length, 0);
});

t.test('a generation that is tried again is made from the digest that there is', async (t) => {
  const world = await setup(t);
  world.respond = ({ stage }, index) => {
    if (stage === 'rag') return digestSuccess;
    return index < 3 ? failure('ambiguous') : success;
  };
  world.begin(1);
  await world.ended(1);
  t.same(
    world.calls.map(({ stage }) => stage),
    ['rag', 'generation', 'generation', 'generation'],
  );
  t.match(world.records, [{ body: { rag: { attempts: 1 }, generation: { attempts: 3 } } }]);
});

t.test('what one stage tried is not held against the other', async (t) => {
  const world = await setup(t);
  world.respond = (_, index) =>
    index % 3 < 2 ? failure('ambiguous') : index === 2 ? digestSuccess : success;
  world.begin(1);
  await world.ended(1);
  t.match(world.records, [
    { body: { status: 'succeeded', rag: { digest: { attempts: 3 } }, generation: { attempts: 3 } } },
  ]);
});

t.test('lines that wait for the one stage keep none from the other', async (t) => {
  for (const jammed of ['rag', 'generation'] as const) {
    const world = await setup(t, APART);
    world.respond = ({ stage }) => {
      if (stage === jammed) return new Promise(() => {});
      return stage === 'rag' ? digestSuccess : success;
    };
    world.begin(50, {}, 'digested');
    if (jammed === 'rag') {
      world.begin(50, { ragMode: 'retrieve' }, 'retrieved');
      await world.ended(50);
      t.ok(world.records.every(({ chunk }) => chunk.lease.batchId === 'retrieved'));
      t.equal(world.callsOf('rag').length, 2, 'a window of digests is stuck');
    } else {
      await until('all digests', async () => {
        await world.clock.advance(100);
        return world.digestedTimes === 50;
      });
      t.equal(world.callsOf('rag').length, 50);
      t.equal(world.callsOf('generation').length, 2);
    }
  }
});

t.test(
  'at endpoints with both roles, what is to be answered goes first, and the gates stay full',
  async (t) => {
    const world = await setup(t, { a: SHARED.a ?? [] }, { window: 4 });
    const waiting: (() => void)[] = [];
    world.respond = ({ stage }) =>
      new Promise((resolve) => waiting.push(() => resolve(stage === 'rag' ? digestSuccess : success)));
    world.begin(40);
    let [digested, mostAhead] = [0, 0];
    while (world.records.length < 40) {
      await turns();
      if (world.records.length < 36) t.equal(waiting.length, 4, 'the endpoint has all it may have');
      digested = world.digestedTimes;
      mostAhead = Math.max(mostAhead, digested - world.records.length);
      waiting.shift()?.();
    }
    t.ok(mostAhead <= 12, `digests ran ahead by ${mostAhead} lines`);
    t.equal(world.calls.length, 80);
  },
);

t.test('a batch of digests has its turns beside one that only answers', async (t) => {
  const world = await setup(t, { a: SHARED.a ?? [] }, { window: 2 });
  world.respond = async ({ stage }) => {
    await world.clock.sleep(10);
    return stage === 'rag' ? digestSuccess : success;
  };
  world.begin(250, { ragMode: 'retrieve' }, 'huge');
  world.begin(5, {}, 'small');
  const isSmallDone = () => world.records.filter(({ chunk }) => chunk.lease.batchId === 'small').length === 5;
  await until('the small batch', async () => {
    await world.clock.advance(10);
    return isSmallDone();
  });
  t.ok(world.records.length < 80, `${world.records.length - 5} lines of the huge batch went before`);
});

t.test('an outage of the RAG model is waited out, while what has its digest is answered', async (t) => {
  const world = await setup(t, APART);
  const answers: (() => void)[] = [];
  world.respond = ({ stage }) =>
    stage === 'rag' ? digestSuccess : new Promise((resolve) => answers.push(() => resolve(success)));
  world.begin(10);
  await turns();
  const digested = world.digestedTimes;
  t.ok(digested > 0);
  world.away.add('reads');
  world.begin(10, {}, 'b2');
  await until('it to be noticed', async () => {
    answers.shift()?.();
    await world.clock.advance(1_000);
    return world.pool.isDown('rag', null) && answers.length === 0;
  });
  await world.clock.advance(OUTAGE_MS / 2);
  const answered = world.records.length;
  t.equal(answered, world.digestedTimes, 'generation has drained');
  t.ok(answered < 20);
  world.away.delete('reads');
  await until('the rest', async () => {
    answers.shift()?.();
    await world.clock.advance(1_000);
    return world.records.length === 20;
  });
  t.ok(world.records.every(({ body }) => body.status === 'succeeded' && body.rag.attempts === 1));
});

t.test('an outage that lasts ends the lines that wait, and those that come while it lasts', async (t) => {
  const world = await setup(t, APART);
  world.away.add('reads');
  for (const _ of [1, 2]) world.pool.find('reads')?.contradicted();
  world.begin(5);
  await world.clock.advance(OUTAGE_MS - 1_000);
  t.equal(world.records.length, 0);
  await world.clock.advance(2_000);
  t.equal(world.records.length, 5);
  t.match(world.records[0], {
    record: { code: 'rag_unavailable', stage: 'rag', rag: 'hard_failure' },
    body: { rag: { attempts: 0 }, error: { message: /After 60 s \(RAG_OUTAGE_MS\).*reads: / } },
  });
  world.begin(5, {}, 'later');
  await turns();
  t.equal(world.records.length, 10, 'nobody waits again for what is known to be away');
  t.equal(world.calls.length, 0);

  world.away.delete('reads');
  await until('it to be back', async () => {
    await world.clock.advance(1_000);
    return !world.pool.isDown('rag', null);
  });
  world.begin(5, {}, 'last');
  await world.ended(15);
  t.ok(world.records.slice(10).every(({ body }) => body.status === 'succeeded'));
});

t.test('an endpoint drained by hand is no outage', async (t) => {
  const world = await setup(t, APART);
  world.pool.find('reads')?.setDrained(true);
  world.begin(1);
  await world.clock.advance(OUTAGE_MS * 3);
  t.equal(world.records.length, 0);
  world.pool.find('reads')?.setDrained(false);
  await world.ended(1);
  t.match(world.records, [{ body: { status: 'succeeded' } }]);
});

t.test('a pause lets lines finish whose digest was asked for, and parks the others', async (t) => {
  const world = await setup(t, APART, { window: 2 });
  const digests: (() => void)[] = [];
  world.respond = ({ stage }) =>
    stage === 'rag' ? new Promise((resolve) => digests.push(() => resolve(digestSuccess))) : success;
  const chunk = world.begin(20);
  await turns();
  world.runner.pause([chunk]);
  t.equal(chunk.digestLines, 20 - world.parkedLines);
  await until('the started ones', async () => {
    digests.shift()?.();
    await world.clock.advance(100);
    return world.records.length + world.parkedLines === 20;
  });
  t.ok(world.records.length >= 2 && world.records.length <= 4);
  t.equal(chunk.digestLines, 0);
  world.runner.resume(chunk, () => {});
  t.equal(chunk.digestLines, world.parkedLines);
  await until('all', async () => {
    digests.shift()?.();
    await world.clock.advance(100);
    return world.records.length === 20;
  });
  t.equal(chunk.digestLines, 0);
  t.equal(world.callsOf('rag').length, 20);
});

t.test('what a pause has parked forgets what it found in a build that was replaced', async (t) => {
  const nothing = { kind: 'soft_failure', code: 'nothing_found', message: 'nothing', attempts: 1 } as const;
  const world = new DigestWorld(APART);
  t.teardown(() => world.stop());
  world.away.add('reads').add('answers');
  await world.open();
  const found = world.begin(2);
  const undigested = world.begin(2, { ragMode: 'retrieve' }, 'b2');
  await turns();
  world.retrieve = () => ({ ...nothing, collectionGeneration: 3 });
  const notFound = world.begin(2, {}, 'b3');
  await turns();
  const chunks = [found, undigested, notFound];
  world.runner.pause(chunks);
  t.equal(world.parkedLines, 6);
  world.generation = 4;
  world.retrieve = () => ({ ...foundPassages, collectionGeneration: 4 });
  world.runner.retrieveAgain();
  for (const chunk of chunks) world.runner.resume(chunk, () => {});
  await turns();
  t.same(
    chunks.map(({ digestLines }) => digestLines),
    [2, 0, 2],
  );
  world.away.clear();
  await world.ended(6);
  for (const { record } of world.records) t.match(record, { rag: 'success', collectionGeneration: 4 });
  t.equal(world.callsOf('rag').length, 4);
  t.same(
    chunks.map(({ digestLines }) => digestLines),
    [0, 0, 0],
  );
});

t.test('a suspect is digested alone, and one that ends its process is not generated', async (t) => {
  const world = await setup(t);
  world.respond = ({ stage, query }) =>
    stage === 'rag' && query.endsWith('2')
      ? modelFailure('request', 'it died', { code: 'poison' })
      : defaultAnswer(stage);
  world.begin(3, {}, 'b1', [1, 2]);
  await world.ended(3);
  t.same(
    world.calls.filter(({ isAlone }) => isAlone).map(({ stage, query }) => `${stage} ${query}`),
    ['rag b1 question 1', 'generation b1 question 1', 'rag b1 question 2'],
  );
  const poisoned = world.records.find(({ record }) => record.line === 2);
  t.match(poisoned, { record: { code: 'poison', stage: 'rag', rag: 'hard_failure' } });
  t.equal(world.records.filter(({ record }) => record.status === 'succeeded').length, 2);
});

t.test(
  'of two calls for a digest the later one counts for nothing, wherever the line is by then',
  async (t) => {
    const world = await setup(t, { fast: ['rag'], slow: ['rag'], answers: ['generation'] }, { window: 4 });
    const late: (() => void)[] = [];
    world.respond = async ({ stage, endpoint }) => {
      if (stage === 'generation') return success;
      if (endpoint === 'slow' && world.records.length > 150)
        return new Promise((resolve) =>
          late.push(() => resolve({ ...digestSuccess, answer: 'From the slow one, too late.' })),
        );
      await world.clock.sleep(50);
      return digestSuccess;
    };
    world.begin(200);
    await until('all records', async () => {
      await world.clock.advance(50);
      return world.records.length >= 200;
    });
    t.ok(late.length > 0, 'the slow one was asked');
    t.ok(world.callsOf('rag').length > 200, 'and then the fast one');
    for (const answer of late) answer();
    await world.clock.advance(10_000);
    t.equal(world.records.length, 200);
    t.equal(world.callsOf('generation').length, 200);
    t.ok(world.callsOf('generation').every(({ task }) => task.digest === DIGEST_TEXT));
  },
);

t.test('a cancel ends the digests in flight and leaves no record', async (t) => {
  const world = await setup(t);
  world.respond = ({ signal }) =>
    new Promise((resolve) =>
      signal.addEventListener('abort', () => resolve(modelFailure('cancelled', 'cancelled'))),
    );
  const chunk = world.begin(10);
  await turns();
  chunk.controller.abort();
  world.runner.dropAborted();
  await world.clock.advance(10_000);
  t.same(world.records, []);
  t.ok(world.calls.every(({ stage, signal }) => stage === 'rag' && signal.aborted));
});

t.test('whoever has the turn when the placing of a line throws, each line ends once', async (t) => {
  for (let spoilt = 1; spoilt <= 12; spoilt += 1) {
    const world = await new DigestWorld(SHARED, { window: 1 }).open();
    const { pool } = world;
    const withRoom = pool.withRoom.bind(pool);
    let picks = 0;
    pool.withRoom = (...wanted) => {
      picks += 1;
      if (picks === spoilt) throw new Error('bug');
      return withRoom(...wanted);
    };
    world.begin(4);
    await world.clock.advance(30_000);
    await world.stop();
    t.same(world.records.map(({ record }) => record.line).sort(), [1, 2, 3, 4], `placing ${spoilt}`);
  }
});

t.test('whatever happens in either stage, each line ends once, as the table of outcomes says', async () => {
  const kinds = fc.constantFrom(
    'good',
    'good',
    'good',
    'useless',
    'hard',
    'overload',
    'request',
    'ambiguous',
  );
  const roles = fc.constantFrom(SHARED, APART, {
    a: ['rag'],
    b: ['rag', 'generation'],
    c: ['generation'],
  } as const);
  await fc.assert(
    fc.asyncProperty(
      fc.array(kinds, { maxLength: 80 }),
      fc.integer({ min: 1, max: 20 }),
      roles,
      async (script, lines, its) => {
        const world = await new DigestWorld(its).open();
        const ended: Record<string, string[]> = {};
        world.respond = async ({ stage, endpoint, query }, index) => {
          await new Promise(setImmediate);
          assert.ok(world.pool.find(endpoint)?.roles.has(stage), 'each endpoint does what it is there for');
          const kind = script[index] ?? 'good';
          const outcome = kind === 'good' || kind === 'useless' ? kind : 'failed';
          if (stage === 'generation') assert.notEqual(ended[query]?.at(-1), undefined, 'a digest ends first');
          else assert.ok(!ended[query]?.includes('good'), 'nobody asks for a digest that is there');
          if (stage === 'rag') ended[query] = [...(ended[query] ?? []), outcome];
          if (outcome === 'failed') return failure(kind as FailureClass);
          if (stage === 'generation') return success;
          return kind === 'good' ? digestSuccess : { ...digestSuccess, answer: 'NO CONTEXT' };
        };
        const chunk = world.begin(lines);
        for (let seconds = 0; seconds < 3600 && world.records.length < lines; seconds += 1) {
          await world.clock.advance(1_000);
        }
        await world.clock.advance(1_000);
        await world.stop();
        assert.equal(world.records.length, lines);
        assert.equal(new Set(world.records.map(({ record }) => record.line)).size, lines);
        assert.equal(chunk.digestLines, 0);
        for (const { record, body } of world.records) {
          const query = `b1 question ${record.line}`;
          const answers = world.callsOf('generation').filter((call) => call.query === query);
          const last = ended[query]?.at(-1);
          assert.ok(body.rag.attempts <= ATTEMPTS_MAX);
          if (record.rag === 'hard_failure') assert.equal(answers.length, 0);
          else assert.ok(answers.length > 0);
          if (record.rag === 'success') assert.equal(last, 'good');
          if (last === 'good') assert.ok(answers.every(({ task }) => task.digest === DIGEST_TEXT));
          else assert.ok(answers.every(({ task }) => task.digest === null && task.passages.length === 0));
        }
      },
    ),
    { numRuns: 40 },
  );
});
