import { readFileSync } from 'node:fs';
import t from 'tap';
import { describeApi } from '../../src/cli/openapi-document.ts';
import { startIntake } from '../fakes/intake-server.ts';

interface Operation {
  readonly parameters?: readonly {
    readonly name: string;
    readonly required?: boolean;
    readonly schema: { readonly default?: unknown };
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
}

t.test('openapi.yaml is what the routes say: npm run openapi writes it anew', async (t) => {
  t.equal(readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8'), await describeApi());
});

t.test('what has a default can be left out, and what is uploaded is described', async (t) => {
  const { url } = await startIntake(t);
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, Operation>>;
  };
  const parameters = Object.values(paths).flatMap((path) =>
    Object.values(path).flatMap((operation) => operation.parameters ?? []),
  );
  const withDefault = parameters.filter(({ schema }) => schema.default !== undefined);
  t.ok(withDefault.length > 0);
  t.same(
    withDefault.filter(({ required }) => required).map(({ name }) => name),
    [],
  );
  const form = paths['/v1/files']?.post?.requestBody?.content['multipart/form-data']?.schema;
  t.match(form, { required: ['file', 'purpose'], properties: { file: { format: 'binary' } } });
});
