// Listing, showing and deleting files.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { FilePurpose, StoredFile } from '../../domain/file.ts';
import { RagmillError } from '../../errors.ts';
import { acceptAnyBody } from '../bodies.ts';
import { listOf, listSchema } from '../list.ts';
import type { Services } from '../services.ts';
import { envelopeRef } from './envelope.ts';
import { fileRef, toFileObject } from './file-object.ts';

export const fileParams = Type.Object({
  id: Type.String({ description: 'The file id, such as file-1f…' }),
});

const listQuery = Type.Object({
  purpose: Type.Optional(Type.String({ description: '`batch` or `batch_output`; default: all files.' })),
  after: Type.Optional(Type.String({ description: 'Id of the last file of the page before.' })),
  limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 10_000 }),
  order: Type.Enum(['asc', 'desc'], { default: 'desc', description: 'By creation.' }),
});

const fileList = listSchema(fileRef);

const deletedFile = Type.Object({
  id: Type.String(),
  object: Type.Literal('file'),
  deleted: Type.Literal(true),
});

const PURPOSES: readonly string[] = ['batch', 'batch_output'] satisfies FilePurpose[];
const NO_FILES = { files: [], hasMore: false };

export function registerFiles(scope: FastifyInstance, services: Services): void {
  const { store } = services;
  const routes = scope.withTypeProvider<TypeBoxTypeProvider>();
  const tags = ['openai'];
  routes.get(
    '/files',
    {
      schema: {
        summary: 'List files',
        tags,
        querystring: listQuery,
        response: { 200: fileList, 400: envelopeRef, 404: envelopeRef },
      },
    },
    async (request) => {
      const { files, hasMore } = await listFiles(request.query, services);
      return listOf(files.map(toFileObject), hasMore);
    },
  );

  const oneFile = { tags, params: fileParams };
  const response = { 200: fileRef, 404: envelopeRef };
  routes.get('/files/:id', { schema: { ...oneFile, summary: 'One file', response } }, async (request) => {
    const { id } = request.params;
    return toFileObject(foundFile(await store.getFile(id), id));
  });

  scope.register((commands, _options, done) => {
    acceptAnyBody(commands);
    const schema = {
      ...oneFile,
      summary: 'Delete a file',
      description: 'Batches that were made of it stay as they are; so does the batch whose results it holds.',
      response: { 200: deletedFile, 404: envelopeRef, 409: envelopeRef },
    };
    commands
      .withTypeProvider<TypeBoxTypeProvider>()
      .delete('/files/:id', { schema }, async ({ params: { id } }) => deleteFile(id, services));
    done();
  });
}

/** The file, or a 404 in OpenAI's words. */
export function foundFile(file: StoredFile | null, id: string): StoredFile {
  if (file) return file;
  throw new RagmillError('file_not_found', `No such File object: ${id}`, { param: 'id' });
}

async function listFiles({ purpose, after, limit, order }: Static<typeof listQuery>, { store }: Services) {
  // OpenAI has more purposes than there are here.
  if (purpose !== undefined && !PURPOSES.includes(purpose)) return NO_FILES;
  const page = { purpose: (purpose ?? null) as FilePurpose | null, after: after ?? null, limit, order };
  try {
    return await store.listFiles(page);
  } catch (error) {
    if (!(error instanceof RagmillError && error.code === 'file_not_found')) throw error;
    throw new RagmillError('file_not_found', `No such File object: ${after}`, { param: 'after' });
  }
}

async function deleteFile(id: string, { store }: Services) {
  const outcome = await store.deleteFile(id);
  if (outcome === null) foundFile(null, id);
  if (outcome === 'in_use') {
    throw new RagmillError(
      'file_in_use',
      `The file ${id} is in use: a batch is being made of it, or is still adding to it. Wait for it, or cancel the batch.`,
      { param: 'id' },
    );
  }
  return { id, object: 'file' as const, deleted: true as const };
}
