// One line of a JSONL corpus: `id` and `text`, and if there are any `title`, `source` and `metadata`.

import type { CorpusDocument } from '../domain/corpus.ts';

export type ParsedLine =
  | { readonly kind: 'document'; readonly document: CorpusDocument }
  | { readonly kind: 'bad'; readonly message: string };

/** `source` stands for a line that names none. */
export function parseCorpusLine(line: string, source: string): ParsedLine {
  let fields: unknown;
  try {
    fields = JSON.parse(line);
  } catch (error) {
    return bad(`It is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (!isRecord(fields)) return bad('It is not a JSON object');
  const id = Number.isSafeInteger(fields.id) ? String(fields.id) : fields.id;
  if (typeof id !== 'string' || id === '') return bad('`id` must be a text that is not empty');
  if (typeof fields.text !== 'string' || fields.text.trim() === '') {
    return bad('`text` must be a text that is not empty');
  }
  const { title = null, metadata = null } = fields;
  const named = fields.source ?? source;
  if (title !== null && typeof title !== 'string') return bad('`title` must be a text');
  if (typeof named !== 'string') return bad('`source` must be a text');
  const scalars = scalarsOf(metadata);
  if (scalars === null) return bad('`metadata` must be an object of texts, finite numbers, true and false');
  const document = {
    id: id.toWellFormed(),
    title: title?.toWellFormed() || null,
    source: named.toWellFormed(),
    text: fields.text.toWellFormed(),
    metadata: scalars,
  };
  return { kind: 'document', document };
}

/** Null where some value is no scalar. A key whose value is null counts as absent. */
function scalarsOf(metadata: unknown): CorpusDocument['metadata'] | null {
  if (metadata === null) return {};
  if (!isRecord(metadata)) return null;
  const scalars: [string, string | number | boolean][] = [];
  for (const [key, value] of Object.entries(metadata)) {
    if (value === null) continue;
    if (typeof value === 'string') scalars.push([key, value.toWellFormed()]);
    else if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) {
      scalars.push([key, value]);
    } else return null;
  }
  return Object.fromEntries(scalars);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(message: string): ParsedLine {
  return { kind: 'bad', message };
}
