// What a client may want beside a result: the question that was asked, and the text of the passages that stood in
// its prompt. Both are read again from what the batch keeps; the stored result stays as it is.

import type { StoredRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import { BadLine, parseLine } from '../scheduler/line-parser.ts';
import type { Store } from '../store/store.ts';

export const INCLUDABLE = ['query', 'passages'] as const;

export type Included = (typeof INCLUDABLE)[number];

/** Reads `query,passages`, in any order. Throws `invalid_option`. */
export function parseInclude(text: string | undefined): ReadonlySet<Included> {
  const names = (text ?? '').split(',').map((name) => name.trim());
  const known = names.filter((name): name is Included =>
    INCLUDABLE.some((includable) => includable === name),
  );
  if (text === undefined || known.length === names.length) return new Set(known);
  throw new RagmillError('invalid_option', `"include" is a list of ${INCLUDABLE.join(' and ')}.`);
}

/** The records with what is wanted beside them, as further fields of their JSON. */
export async function withIncluded(
  store: Pick<Store, 'getBatch' | 'readSources'>,
  batchId: string,
  records: readonly StoredRecord[],
  include: ReadonlySet<Included>,
): Promise<readonly StoredRecord[]> {
  if (include.size === 0 || records.length === 0) return records;
  const batch = await store.getBatch(batchId);
  const sources = await store.readSources(
    batchId,
    records.map(({ seq, line }) => ({ seq, line })),
  );
  return records.map((record) => {
    const source = sources.get(record.seq);
    const added: string[] = [];
    if (include.has('query')) {
      const parsed = source && batch ? parseLine(source.input, batch.options) : null;
      const query = parsed === null || parsed instanceof BadLine ? null : parsed.request.query;
      added.push(`"query":${JSON.stringify(query)}`);
    }
    if (include.has('passages')) {
      const passages = (source?.passages ?? []).map(({ documentId, ...rest }) => ({
        id: documentId,
        ...rest,
      }));
      added.push(`"passages":${JSON.stringify(passages)}`);
    }
    return { ...record, body: `${record.body.slice(0, -1)},${added.join(',')}}` };
  });
}
