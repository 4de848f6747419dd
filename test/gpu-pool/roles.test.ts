import t from 'tap';
import { parseEndpoints, sequentialCandidates } from '../../src/gpu-pool/candidates.ts';
import { GENERATION_LIST, withRoles } from '../../src/gpu-pool/roles.ts';

const united = (gpu: string, generation: string) =>
  withRoles(parseEndpoints(gpu), parseEndpoints(generation, GENERATION_LIST)).map(({ roles, ...rest }) => ({
    ...rest,
    roles: [...roles],
  }));

t.test(
  'endpoints have the roles of the lists that name them, and each server stands there once',
  async (t) => {
    t.match(united('http://a,b=http://b', 'http://b/v1,http://c'), [
      { name: 'gpu-0', url: 'http://a', roles: ['rag'] },
      { name: 'b', url: 'http://b', roles: ['rag', 'generation'] },
      { name: 'generation-1', url: 'http://c', roles: ['generation'] },
    ]);
    t.match(united('http://a', 'answers=http://a;model=m'), [
      { name: 'answers', model: 'm', roles: ['rag', 'generation'] },
    ]);
  },
);

t.test('what answers may be named where the RAG model is looked for on the ports', async (t) => {
  const [first, ...others] = withRoles(
    sequentialCandidates('127.0.0.1', 11_434, 0),
    parseEndpoints('http://127.0.0.1:11434,http://far:1', GENERATION_LIST),
  );
  t.match(first, { name: 'gpu-0', isExpected: true });
  t.same([...(first?.roles ?? [])], ['rag', 'generation']);
  t.match(others.at(-1), { name: 'generation-1', url: 'http://far:1' });
  t.ok(others.slice(0, -1).every(({ roles, isExpected }) => !roles.has('generation') && !isExpected));
});

t.test('lists that contradict each other are refused', async (t) => {
  const refused = (gpu: string, generation: string, message: RegExp) =>
    t.throws(() => united(gpu, generation), { code: 'config_invalid', message });
  refused('a=http://a', 'a=http://b', /GENERATION_ENDPOINTS.*two endpoints alike/);
  refused('http://a;model=small', 'http://a;model=big', /http:\/\/a two models.*RAG_MODEL/);
  refused('http://a', 'ftp://b', /^GENERATION_ENDPOINTS: in "ftp:\/\/b"/);
  refused('http://a', ' , ', /GENERATION_ENDPOINTS names no endpoint/);
});
