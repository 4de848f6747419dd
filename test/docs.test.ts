// What the documentation lists is what there is: settings, error codes, metrics, dependencies.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { settingsSchema } from '../src/config.ts';
import { catalogue } from '../src/errors.ts';
import { createMetrics } from '../src/metrics.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const operations = read('docs/operations.md');

t.test('docs/operations.md lists every setting with its default, and no other', async (t) => {
  const settings = Object.entries(settingsSchema.properties);
  for (const [name, schema] of settings) {
    // The default of this one is the machine's number of processors.
    const hasDefault = 'default' in schema && name !== 'GENERATION_THREADS';
    const cell = hasDefault ? `| \`${name}=${schema.default}\` |` : `| \`${name}\` |`;
    t.ok(operations.includes(cell), cell);
  }
  const listed = [...operations.matchAll(/^\| `([A-Z_]+)[`=]/gm)].map(([, name]) => name);
  t.same(new Set(listed), new Set(settings.map(([name]) => name)));
});

t.test('docs/api.md knows every error code', async (t) => {
  const api = read('docs/api.md');
  for (const code of Object.keys(catalogue)) t.ok(api.includes(`\`${code}\``), code);
});

t.test('docs/operations.md lists every metric of ours', async (t) => {
  const { registry } = createMetrics('0.0.0');
  t.teardown(() => registry.clear());
  const names = registry.getMetricsAsArray().map((metric) => metric.name);
  for (const name of names.filter((candidate) => candidate.startsWith('ragmill_'))) {
    t.ok(operations.includes(`\`${name}`), name);
  }
});

t.test('every dependency earns its line in README.md', async (t) => {
  const readme = read('README.md');
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(read('package.json'));
  for (const name of Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
    t.ok(readme.includes(`\`${name}\``), name);
  }
});
