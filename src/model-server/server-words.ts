// What a model server says about its own trouble: read out of the shapes that error answers have, and cleaned so
// that it can stand in a log and in a result.

/** The longest piece of a server's words that is repeated. */
const EXCERPT_MAX_CHARS = 300;
/** How much of a text is looked at for it: some texts are megabytes, and much of them unprintable. */
const LOOKED_AT_CHARS = 2_000;

export interface ServerWords {
  readonly message: string;
  /** The HTTP status that the payload itself names, where it names one. */
  readonly status: number | null;
  /** The payload's `type` and textual `code`, in one string; empty when it has none. */
  readonly type: string;
}

/** With the indentation after them. */
const LINE_BREAKS = /[\r\n][ \t\r\n]*/g;
const UNPRINTABLE_OR_SPACE = /[\p{C}\s]+/gu;

/** One short printable line of `text`, with `secret` blacked out. */
export function excerpt(text: string, secret: string | null): string {
  const scrubbed = secret ? text.replaceAll(secret, '***') : text;
  // A copy: a mere slice keeps the whole text in memory for as long as the excerpt lives.
  const start = Buffer.from(scrubbed.trimStart().slice(0, LOOKED_AT_CHARS)).toString();
  const line = start.replace(UNPRINTABLE_OR_SPACE, ' ').trim();
  return line.length <= EXCERPT_MAX_CHARS ? line : `${line.slice(0, EXCERPT_MAX_CHARS - 1).toWellFormed()}…`;
}

/**
 * The error in a payload, or null when it is none. Shapes: `{error: {…}}` (OpenAI, vLLM), `{error: "…"}` (Ollama),
 * `{error: "…", code: 503}` (SGLang's streams), `{object: "error", …}` (SGLang, older vLLM). An empty text is no error.
 */
export function errorInPayload(payload: unknown): ServerWords | null {
  if (!isRecord(payload)) return null;
  const { error } = payload;
  if (typeof error === 'string' && error !== '') return wordsOf({ ...payload, message: error });
  if (isRecord(error)) return wordsOf(error);
  return payload.object === 'error' ? wordsOf(payload) : null;
}

/** What the body of an answer with an error status says: JSON of a known shape, or the text as it is. */
export function errorInBody(text: string): ServerWords {
  const payload = parseJson(text);
  const words = errorInPayload(payload) ?? (isRecord(payload) ? wordsOf(payload) : null);
  return words === null || words.message === '' ? { message: text, status: null, type: '' } : words;
}

/** The body of a refusal as it came, in one line and with `secret` blacked out; what is no JSON object becomes OpenAI's. */
export function refusalBody(text: string, secret: string | null): string {
  const scrubbed = secret ? text.replaceAll(secret, '***') : text;
  if (isRecord(parseJson(scrubbed))) return inOneLine(scrubbed);
  const message = excerpt(text, secret);
  return JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code: null } });
}

/** A JSON text without its line breaks, which stand between its tokens only: all else of it stays to the letter. */
export function inOneLine(json: string): string {
  return json.trim().replace(LINE_BREAKS, '');
}

/** The value of a JSON text; undefined when it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wordsOf(error: Readonly<Record<string, unknown>>): ServerWords {
  const { code, type } = error;
  const message = error.message ?? error.detail;
  const status = Number(code);
  return {
    message: typeof message === 'string' ? message : message === undefined ? '' : JSON.stringify(message),
    status: Number.isInteger(status) && status >= 400 && status <= 599 ? status : null,
    type: [type, code].filter((part) => typeof part === 'string').join(' '),
  };
}
