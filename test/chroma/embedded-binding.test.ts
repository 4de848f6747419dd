// Where no Chroma server can run, ragmill says so in one line and names the way out.

import t from 'tap';
import { bindingUnusableExitCode, loadChromaBinding } from '../../src/chroma/embedded-binding.ts';
import { describeFailedStart } from '../../src/chroma/embedded-server.ts';

t.test('tells why there is no binding', async (t) => {
  t.match(loadChromaBinding('aix-ppc64'), { kind: 'unusable', reason: /no Chroma server for aix-ppc64/ });
  const foreign = process.platform === 'win32' ? 'linux-arm64' : 'win32-arm64';
  t.match(loadChromaBinding(foreign), {
    kind: 'unusable',
    reason: /^chromadb-js-bindings-[^\n]* cannot be loaded/,
  });
});

t.test('a start that no restart can cure names CHROMA_URL in one line', async (t) => {
  const lastWords = 'chromadb-js-bindings-linux-x64-gnu cannot be loaded (GLIBC_2.39 not found)';
  const tooOld = describeFailedStart({ exitCode: bindingUnusableExitCode, signal: null, lastWords });
  t.match(tooOld, { code: 'chroma_unsupported', message: /GLIBC_2.39 not found.*CHROMA_URL/ });
  t.notMatch(tooOld.message, /\n/);
  const oldProcessor = describeFailedStart({ exitCode: null, signal: 'SIGILL', lastWords: '' });
  t.match(oldProcessor, { code: 'chroma_unsupported', message: /SIGILL.*CHROMA_URL/ });
});

t.test('any other exit is a failure too, also one with code 0', async (t) => {
  const taken = describeFailedStart({ exitCode: 0, signal: null, lastWords: 'Address is not available' });
  t.match(taken, {
    code: 'chroma_unavailable',
    message: /exit code 0, last words: Address is not available/,
  });
});
