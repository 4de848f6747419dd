// A file as OpenAI's API shows it.

import { type Static, Type } from 'typebox';
import type { StoredFile } from '../../domain/file.ts';

export const fileSchema = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('file'),
    bytes: Type.Integer(),
    created_at: Type.Integer(),
    expires_at: Type.Optional(Type.Integer({ description: 'Unix seconds; absent: never.' })),
    filename: Type.String(),
    purpose: Type.Enum(['batch', 'batch_output']),
    status: Type.Literal('processed'),
    status_details: Type.Null(),
  },
  { $id: 'File', title: 'File' },
);

/** For the schemas of routes. */
export const fileRef = Type.Ref('File#');

export function toFileObject(file: StoredFile): Static<typeof fileSchema> {
  return {
    id: file.id,
    object: 'file',
    bytes: file.bytes,
    created_at: file.createdAt,
    ...(file.expiresAt === null ? {} : { expires_at: file.expiresAt }),
    filename: file.filename,
    purpose: file.purpose,
    status: 'processed',
    status_details: null,
  };
}
