// The lines of a batch: one with everything about it, and the upload itself.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { Attempt } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import { viewLine } from '../scheduler/line-view.ts';
import type { Store } from '../store/store.ts';
import { batchParams, found } from './batches.ts';
import { sendLive } from './live-response.ts';
import { problemRef } from './problem.ts';
import { pump } from './pump.ts';
import type { Services } from './services.ts';

const attemptsSchema = Type.Array(
  Type.Object({
    endpoint: Type.String(),
    ending: Type.String({ description: '`success`, or the class of the failure.' }),
    code: Type.Union([Type.String(), Type.Null()]),
    message: Type.Union([Type.String(), Type.Null()]),
    duration_ms: Type.Integer(),
  }),
  { description: 'The calls of this run, the last twenty.' },
);

const lineSchema = Type.Object({
  line: Type.Integer(),
  status: Type.Enum(['queued', 'leased', 'succeeded', 'failed', 'cancelled', 'expired']),
  input: Type.String({ description: 'The line as uploaded.' }),
  runs: Type.Array(
    Type.Object({
      run: Type.Integer(),
      current: Type.Boolean({ description: 'Whether this is the result that counts.' }),
      result: Type.Unknown({ description: 'The result line.' }),
      attempts: attemptsSchema,
      passages: Type.Array(
        Type.Object({
          id: Type.String(),
          chunk: Type.Integer(),
          title: Type.Union([Type.String(), Type.Null()]),
          source: Type.Union([Type.String(), Type.Null()]),
          text: Type.String(),
        }),
      ),
      prompt: Type.Unknown({
        description:
          'The request body as it was sent, but for what concerns streaming; null: nothing was sent.',
      }),
      digest: Type.Union(
        [
          Type.Object({
            attempts: attemptsSchema,
            text: Type.Union([Type.String(), Type.Null()], {
              description:
                'What stands in the prompt in the place of the passages; null: it could not be used.',
            }),
            prompt: Type.Unknown({ description: 'The request for the digest, as that for the answer.' }),
          }),
          Type.Null(),
        ],
        { description: 'With `rag_mode=digest`: the calls to the RAG model; null: none was asked for.' },
      ),
    }),
  ),
});

const NEWLINE = Buffer.from('\n');

const inputQuery = Type.Object(
  {
    status: Type.Optional(
      Type.Enum(['succeeded', 'failed'], {
        description: 'Lines whose current result is so; `failed`: everything that did not succeed.',
      }),
    ),
  },
  { additionalProperties: false },
);

export function registerLines(app: FastifyInstance, services: Services): void {
  registerLine(app, services);
  registerInput(app, services);
}

function registerLine(app: FastifyInstance, services: Services): void {
  app.withTypeProvider<TypeBoxTypeProvider>().get(
    '/batches/:id/lines/:line',
    {
      schema: {
        summary: 'Everything about one line',
        tags: ['batches'],
        params: Type.Object({ ...batchParams.properties, line: Type.Integer({ minimum: 1 }) }),
        response: { 200: lineSchema, 404: problemRef, 410: problemRef },
      },
    },
    async (request) => {
      const { id, line } = request.params;
      const batch = await found(await services.store.getBatch(id), id, services.store);
      const view = await viewLine(services.store, batch, line, services.defaultSystemPrompt);
      if (!view) {
        throw new RagmillError(
          'line_not_found',
          `The batch ${id} has no line ${line}; blank lines do not count.`,
        );
      }
      const runs = view.runs.map(({ run, isCurrent, result, attempts, passages, prompt, digest }) => ({
        run,
        current: isCurrent,
        result: JSON.parse(result),
        attempts: attempts.map(toAttemptObject),
        passages: passages.map(({ documentId, ...rest }) => ({ id: documentId, ...rest })),
        prompt,
        digest: digest && { ...digest, attempts: digest.attempts.map(toAttemptObject) },
      }));
      return { line, status: view.status as 'queued', input: view.input, runs };
    },
  );
}

function toAttemptObject({ durationMs, ...rest }: Attempt) {
  return { ...rest, duration_ms: durationMs };
}

function registerInput(app: FastifyInstance, services: Services): void {
  app.withTypeProvider<TypeBoxTypeProvider>().get(
    '/batches/:id/input',
    {
      schema: {
        summary: 'The lines as they were uploaded',
        description: 'With `status=failed` the lines to mend and upload again. Blank lines are left out.',
        tags: ['batches'],
        params: batchParams,
        querystring: inputQuery,
        produces: ['application/x-ndjson'],
        response: { 404: problemRef, 410: problemRef },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      await found(await services.store.getBatch(id), id, services.store);
      const { status = null } = request.query;
      const head = { status: 200, headers: { 'content-type': 'application/x-ndjson' } };
      return sendLive({ request, reply }, head, services, async (response) => {
        await pump(response, inputPages(services.store, id, status), null);
      });
    },
  );
}

async function* inputPages(
  store: Pick<Store, 'readInput'>,
  batchId: string,
  status: 'succeeded' | 'failed' | null,
): AsyncGenerator<Buffer> {
  let afterLine = 0;
  for (;;) {
    // Others have their turn between two chunks.
    await nextTurn();
    const page = await store.readInput(batchId, { afterLine, status });
    if (!page) return;
    afterLine = page.lastLine;
    if (page.lines.length > 0) {
      yield Buffer.concat(page.lines.flatMap(({ bytes }) => [bytes, NEWLINE]));
    }
  }
}
