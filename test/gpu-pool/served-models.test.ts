import t from 'tap';
import type { ServerKind } from '../../src/domain/server-kind.ts';
import { ServedModels } from '../../src/gpu-pool/served-models.ts';

function served(
  server: ServerKind,
  models: Readonly<Record<string, number | null>>,
  configured: string | null = null,
): ServedModels {
  const all = new ServedModels(configured);
  const list = Object.entries(models).map(([id, contextTokens]) => ({ id, contextTokens }));
  all.update({ server, models: list, otherModels: [] });
  return all;
}

t.test('at Ollama a name without a tag is that of the latest', async (t) => {
  const models = served('ollama', { 'llama3.2:latest': 4096, 'hub/team/qwen3:8b': null });
  for (const name of ['llama3.2', 'llama3.2:latest']) {
    t.ok(models.has(name), name);
    t.equal(models.contextTokensOf(name), 4096, name);
  }
  t.notOk(models.has('llama3.2:1b') || models.has('qwen3') || models.has('hub/team/qwen3'));
});

t.test('other servers mean their names as they are written', async (t) => {
  const models = served('vllm', { 'llama3.2:latest': 4096 });
  t.notOk(models.has('llama3.2') || models.hasHad('llama3.2'));
  t.equal(models.contextTokensOf('llama3.2'), null);
});

t.test('the model that the settings give is had, listed or not', async (t) => {
  t.ok(served('generic', { other: null }, 'mine').has('mine'));
  t.ok(served('ollama', {}, 'llama3.2').has('llama3.2:latest'));
  t.notOk(served('generic', { other: null }, 'mine').has('another'));
});

t.test('what a server has served is remembered when it is gone, or serves something else', async (t) => {
  const models = served('ollama', { 'llama3.2:latest': null });
  models.update({ server: 'ollama', models: [{ id: 'qwen3:8b', contextTokens: null }], otherModels: [] });
  models.clear();
  t.notOk(models.has('llama3.2') || models.has('qwen3:8b'));
  t.ok(models.hasHad('llama3.2') && models.hasHad('qwen3:8b'));
  t.notOk(models.hasHad('qwen3'));
});

t.test("a model that only embeds is had by who names it, and is nobody's default", async (t) => {
  const models = new ServedModels(null);
  const otherModels = [{ id: 'bge-m3:latest', contextTokens: 8192 }];
  models.update({ server: 'ollama', models: [], otherModels });
  t.ok(models.has('bge-m3') && models.hasHad('bge-m3'));
  t.notOk(models.has(null));
  t.equal(models.default, null);
  t.equal(models.contextTokensOf('bge-m3'), 8192);
  t.strictSame(models.toTry, { model: 'bge-m3:latest', chats: false });
  models.clear();
  t.notOk(models.has('bge-m3'));
});
