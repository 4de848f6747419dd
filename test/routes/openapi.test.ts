import { readFileSync } from 'node:fs';
import t from 'tap';
import { describeApi } from '../../src/cli/openapi-document.ts';

t.test('openapi.yaml is what the routes say: npm run openapi writes it anew', async (t) => {
  t.equal(readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8'), await describeApi());
});
