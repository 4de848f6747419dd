// One line of a JSONL corpus: `id` and `text`, and if there are any `title`, `source` and `metadata`.
// Metadata become metadata in Chroma beside our own, and stand on every chunk; so their names and sizes are checked here.

import type { CorpusDocument } from '../domain/corpus.ts';

export type ParsedLine =
  | { readonly kind: 'document'; readonly document: CorpusDocument }
  | { readonly kind: 'bad'; readonly message: string };

/** Of `id`, `title` and `source`: they stand on every chunk. */
const nameMaxCharacters = 2_048;
/** Of all keys and texts of `metadata`. */
const metadataMaxCharacters = 16_384;
/** Keys of our own, keys that Chroma keeps for itself, and what a filter takes for an operator. */
const reservedKey = /^(?:ragmill_|chroma:|\$)/;

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
  for (const [name, value] of Object.entries({ id, title, source: named })) {
    if ((value?.length ?? 0) > nameMaxCharacters)
      return bad(`\`${name}\` is longer than ${nameMaxCharacters} characters`);
  }
  const scalars = scalarsOf(metadata);
  if (scalars === null) return bad('`metadata` must be an object of texts, finite numbers, true and false');
  const problem = problemOf(scalars);
  if (problem !== null) return bad(problem);
  const document = {
    id: id.toWellFormed(),
    title: title?.toWellFormed() || null,
    source: named.toWellFormed(),
    text: fields.text.toWellFormed(),
    metadata: scalars,
    hasHeadings: /\.(md|markdown)$/i.test(named),
    pageStarts: [],
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
    if (typeof value === 'string') scalars.push([key.toWellFormed(), value.toWellFormed()]);
    else if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) {
      scalars.push([key.toWellFormed(), value]);
    } else return null;
  }
  return Object.fromEntries(scalars);
}

function problemOf(metadata: CorpusDocument['metadata']): string | null {
  let characters = 0;
  for (const [key, value] of Object.entries(metadata)) {
    if (key === '') return 'A key of `metadata` is empty';
    if (reservedKey.test(key)) return `The key "${key}" of \`metadata\` is reserved`;
    characters += key.length + String(value).length;
  }
  if (characters <= metadataMaxCharacters) return null;
  return `\`metadata\` is longer than ${metadataMaxCharacters} characters`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(message: string): ParsedLine {
  return { kind: 'bad', message };
}
