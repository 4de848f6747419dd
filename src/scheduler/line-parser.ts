// One line of an upload: which of the two shapes it has, and what is wrong with it if it cannot be run.
//
// What is taken in is the business of each face; once it is in, a line of either is opened in the same way. Lines in OpenAI's
// shape are then only looked at as far as they are ours: whether their bodies make sense, the model server says.

import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { CHAT_COMPLETIONS, type LineRequest, OPENAI_ENDPOINTS } from '../domain/line.ts';
import type { RequestOptions } from '../domain/options.ts';
import { whereProblem } from '../domain/where.ts';
import type { ErrorCode } from '../errors.ts';
import { hasInexactNumbers, parseExactly } from '../generation/exact-numbers.ts';
import { templateProblem } from '../generation/template.ts';
import { CUSTOM_ID_CHARACTERS_MAX, isDeeperThan, NESTING_MAX } from './line-limits.ts';
import { overlayRequestOptions, requestOptionSchema, type WireRequestOptions } from './option-schema.ts';

export interface ParsedLine {
  readonly customId: string;
  readonly request: LineRequest;
  /** Any JSON value; echoed in the result. */
  readonly metadata: unknown;
  /** The batch's options with the line's own over them. */
  readonly options: RequestOptions;
  /** The options that the line sets itself. */
  readonly own: WireRequestOptions;
}

/** What is wrong with a line. */
export class BadLine {
  readonly code: ErrorCode;
  readonly message: string;
  /** The line's custom_id, where one can be made out. */
  readonly customId: string | null;

  constructor(code: ErrorCode, message: string, customId: string | null) {
    this.code = code;
    this.message = message;
    this.customId = customId;
  }
}

type OpenaiRequest = Extract<LineRequest, { shape: 'openai' }>;

const customIdSchema = Type.String({ minLength: 1, maxLength: CUSTOM_ID_CHARACTERS_MAX });

const nativeLineSchema = Type.Object({
  custom_id: customIdSchema,
  query: Type.String({ minLength: 1, pattern: '\\S' }),
  metadata: Type.Optional(Type.Unknown()),
  ...requestOptionSchema.properties,
});

/** Clients write out what they leave open. */
const noStream = Type.Optional(Type.Union([Type.Literal(false), Type.Null()]));

const openaiLineSchema = Type.Object({
  custom_id: customIdSchema,
  method: Type.Literal('POST'),
  url: Type.Literal(CHAT_COMPLETIONS),
  body: Type.Object({
    messages: Type.Array(
      Type.Object({ role: Type.String({ minLength: 1 }), content: Type.Optional(Type.Unknown()) }),
      {
        minItems: 1,
      },
    ),
    model: Type.Optional(Type.String({ minLength: 1 })),
    stream: noStream,
  }),
  metadata: Type.Optional(Type.Unknown()),
});

/** What every face has seen to. */
const openedLineSchema = Type.Object({
  custom_id: customIdSchema,
  url: Type.Enum([...OPENAI_ENDPOINTS]),
  body: Type.Object({
    messages: Type.Optional(Type.Union([Type.Array(Type.Object({})), Type.Null()])),
    model: Type.Optional(Type.String({ minLength: 1 })),
    stream: noStream,
  }),
  metadata: Type.Optional(Type.Unknown()),
});

type NativeLine = Static<typeof nativeLineSchema>;
type OpenaiLine = Static<typeof openaiLineSchema>;
type OpenedLine = Static<typeof openedLineSchema>;

const customIdRule = Compile(customIdSchema);
const nativeLine = Compile(nativeLineSchema);
const openaiLine = Compile(openaiLineSchema);
const openedLine = Compile(openedLineSchema);
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Opens the raw bytes of one line of a batch, without its newline, whichever face has let it in. */
export function parseLine(raw: Uint8Array, options: RequestOptions): ParsedLine | BadLine {
  const text = decode(raw);
  if (text instanceof BadLine) return text;
  const value = readObject(text);
  if (value instanceof BadLine) return value;
  if ('body' in value) {
    return openedLine.Check(value) ? toOpenai(value, text, options) : explain(openedLine, value);
  }
  const line = checkNative(value);
  return line instanceof BadLine ? line : toNative(line, options);
}

/** The same of a line of an upload of ragmill's own, with all that is asked of one there. */
export function parseUploaded(raw: Uint8Array, options: RequestOptions): ParsedLine | BadLine {
  const customId = checkLine(raw);
  return customId instanceof BadLine ? customId : parseLine(raw, options);
}

/**
 * The custom_id of a line that can be run. Makes nothing of its own of the line: what the uploads of millions of
 * lines allocate here is worth less than nothing, and V8 keeps it long where the lines of running batches, made at
 * the same place, live long.
 */
export function checkLine(raw: Uint8Array): string | BadLine {
  const text = decode(raw);
  if (text instanceof BadLine) return text;
  const value = readObject(text);
  if (value instanceof BadLine) return value;
  const line = 'body' in value ? checkOpenai(value) : checkNative(value);
  return line instanceof BadLine ? line : line.custom_id;
}

function decode(raw: Uint8Array): string | BadLine {
  try {
    return utf8.decode(raw);
  } catch {
    return bad('line_not_utf8', 'The line holds bytes that are not UTF-8. Save the file as UTF-8.');
  }
}

function readObject(text: string): object | BadLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return bad('line_not_json', `The line is not valid JSON: ${describe(error)}.`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return bad('line_not_object', 'The line must be a JSON object, such as {"custom_id":"q1","query":"…"}.');
  }
  if (isDeeperThan(NESTING_MAX, value)) {
    return bad('invalid_field', `The line is nested more than ${NESTING_MAX} levels deep.`, value);
  }
  return value;
}

function checkNative(value: object): NativeLine | BadLine {
  return nativeLine.Check(value) ? checkOwn(value) : explain(nativeLine, value);
}

function checkOpenai(value: object): OpenaiLine | BadLine {
  if (!openaiLine.Check(value)) return explain(openaiLine, value);
  if (lastUserText(value.body.messages) !== null) return value;
  return bad('missing_field', 'body.messages has no user message with text to retrieve context for.', value);
}

/** What a schema cannot say. */
function checkOwn(line: NativeLine): NativeLine | BadLine {
  const problems = {
    template: line.template === undefined ? null : templateProblem(line.template),
    where: line.where === undefined ? null : whereProblem(line.where),
  };
  for (const [field, problem] of Object.entries(problems)) {
    if (problem !== null) return bad('invalid_field', `The field "${field}" ${problem}.`, line);
  }
  return line;
}

function toNative(line: NativeLine, options: RequestOptions): ParsedLine {
  return {
    customId: line.custom_id,
    request: { shape: 'native', query: line.query },
    metadata: line.metadata ?? null,
    options: overlayRequestOptions(options, line),
    own: line,
  };
}

function toOpenai(line: OpenedLine, text: string, options: RequestOptions): ParsedLine {
  // A line brings its whole body: only the model is ragmill's business, to choose an endpoint that serves it.
  const model = line.body.model ?? options.model;
  // Of its messages it is known only that they are objects.
  const body = line.body as OpenaiRequest['body'];
  const query = line.url === CHAT_COMPLETIONS ? lastUserText(body.messages) : null;
  return {
    customId: line.custom_id,
    request: {
      shape: 'openai',
      url: line.url,
      query: query ?? '',
      body,
      ...(hasInexactNumbers(text) ? { exactBody: exactBodyOf(text) } : {}),
    },
    metadata: line.metadata ?? null,
    // Without a question there is nothing to retrieve for.
    options: { ...options, model, ragMode: query === null ? 'off' : options.ragMode },
    own: {},
  };
}

function exactBodyOf(text: string): string {
  return JSON.stringify((parseExactly(text) as { body: unknown }).body);
}

/** The text of the last user message: a string, or the text parts of a content list. */
function lastUserText(messages: unknown): string | null {
  if (!Array.isArray(messages)) return null;
  const content = messages.findLast((message) => message.role === 'user')?.content;
  const text = Array.isArray(content)
    ? content
        .map((part) => (part?.type === 'text' && typeof part.text === 'string' ? part.text : ''))
        .join('\n')
    : content;
  return typeof text === 'string' && text.trim() !== '' ? text : null;
}

/** The first thing that is wrong, with the name of its field. */
function explain(schema: { Errors(value: unknown): Iterable<SchemaError> }, value: object): BadLine {
  for (const error of schema.Errors(value)) {
    const path = error.instancePath.slice(1).replaceAll('/', '.');
    if (error.keyword === 'required') {
      const [missing] = (error.params as { requiredProperties: string[] }).requiredProperties;
      const field = path === '' ? missing : `${path}.${missing}`;
      return bad('missing_field', `The field "${field}" is missing.`, value);
    }
    return bad('invalid_field', `The field "${path}" ${sayConstraint(path, error)}.`, value);
  }
  return bad('invalid_field', 'The line does not have the shape of a request.', value);
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

function sayConstraint(path: string, error: SchemaError): string {
  if (path === 'custom_id') return 'must be a string of 1 to 256 characters';
  if (path === 'query') return 'must be a string that is not blank';
  if (path === 'body.stream') return 'must be false: results stream from the batch, not from the line';
  if ('allowedValues' in error.params)
    return `must be one of ${(error.params.allowedValues as string[]).join(', ')}`;
  if ('allowedValue' in error.params) return `must be ${JSON.stringify(error.params.allowedValue)}`;
  return error.message;
}

function bad(code: ErrorCode, message: string, value: object = {}): BadLine {
  const customId = 'custom_id' in value && customIdRule.Check(value.custom_id) ? value.custom_id : null;
  return new BadLine(code, message, customId);
}

function describe(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // V8 quotes the whole text for short inputs; the position is what helps.
  const reason = message
    .replace(/, "[\s\S]*$/, '')
    .replace(/ is not valid JSON$/, '')
    .replace(/ \(line \d+ column \d+\)$/, '');
  // What curl -d does to a file: it takes the newlines out.
  return reason.includes('after JSON') ? `${reason}; were newlines lost? (curl needs --data-binary)` : reason;
}
