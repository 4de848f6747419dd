// Files of the OpenAI face: those that were uploaded, and the results of batches, which are read as files.

/** `batch`: input of batches; `batch_output`: what they answered, and what went wrong. */
export type FilePurpose = 'batch' | 'batch_output';

export interface StoredFile {
  readonly id: string;
  readonly purpose: FilePurpose;
  readonly filename: string;
  readonly bytes: number;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Unix seconds; null: never. */
  readonly expiresAt: number | null;
}

/** `output`: the lines that succeeded; `error`: all others that have ended. */
export type ResultFileKind = 'output' | 'error';

/** Made of the batch's id, which it can be found by. */
export function resultFileId(batchId: string, kind: ResultFileKind): string {
  return `file-${kind}-${batchId.replace(/^batch_/, '')}`;
}

/** The batch whose results the file holds; null: the id is not of such a file. */
export function resultFileOf(fileId: string): { batchId: string; kind: ResultFileKind } | null {
  const found = /^file-(output|error)-([0-9a-f]+)$/.exec(fileId);
  if (!found) return null;
  return { batchId: `batch_${found[2]}`, kind: found[1] as ResultFileKind };
}
