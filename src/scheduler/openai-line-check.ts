// One line of a file for OpenAI's batches: whether it can be run as a part of its batch, and if not what is wrong, under
// the codes that OpenAI has for it. Whether a body makes sense beyond that, the model server says.

import { CHAT_COMPLETIONS, OPENAI_ENDPOINTS, type OpenaiEndpoint } from '../domain/line.ts';
import { isRecord } from '../model-server/server-words.ts';
import type { LineFault } from './line-intake.ts';
import { CUSTOM_ID_CHARACTERS_MAX, isDeeperThan, NESTING_MAX } from './line-limits.ts';
import { MODEL_CHARACTERS_MAX } from './option-schema.ts';

interface LineCheckOptions {
  readonly endpoint: OpenaiEndpoint;
  /** Of lines that name none; null: the endpoint's own. */
  readonly model: string | null;
  /** Whether waiting for this model would be in vain. */
  readonly isUnknownModel: (model: string) => boolean;
}

type Fields = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder('utf-8', { fatal: true });

export class OpenaiLineCheck {
  readonly #options: LineCheckOptions;
  /** Of the first line; undefined: there was none yet, null: it names none. */
  #model: string | null | undefined;

  constructor(options: LineCheckOptions) {
    this.#options = options;
  }

  /** The custom_id of a line that can be run. Lines come in their order. */
  check(bytes: Uint8Array): string | LineFault {
    const line = readObject(bytes);
    if (line === null) {
      return fault('invalid_json_line', 'This line is not parseable as valid JSON.', null);
    }
    return (
      nestingProblem(line) ??
      this.#outside(line) ??
      this.#inside(line.body as Fields) ??
      String(line.custom_id)
    );
  }

  #outside(line: Fields): LineFault | null {
    const { endpoint } = this.#options;
    const missing = ['custom_id', 'method', 'url', 'body'].find((name) => isMissing(line[name]));
    if (missing !== undefined) return missingParameter(missing);
    const { custom_id: customId, method, url, body } = line;
    if (typeof customId !== 'string' || customId === '' || customId.length > CUSTOM_ID_CHARACTERS_MAX) {
      const text = `The custom_id must be a string of 1 to ${CUSTOM_ID_CHARACTERS_MAX} characters.`;
      return fault('invalid_custom_id', text, 'custom_id');
    }
    if (method !== 'POST') return fault('invalid_method', "The method must be 'POST'.", 'method');
    if (!OPENAI_ENDPOINTS.some((known) => known === url)) {
      return fault('invalid_url', `The URL must be one of ${OPENAI_ENDPOINTS.join(', ')}.`, 'url');
    }
    if (url !== endpoint) {
      return fault(
        'url_mismatch',
        `The URL '${url}' is not the endpoint of the batch, '${endpoint}'.`,
        'url',
      );
    }
    return isRecord(body) ? null : fault('invalid_type', 'The body must be a JSON object.', 'body');
  }

  #inside(body: Fields): LineFault | null {
    if (!isMissing(body.stream) && body.stream !== false) {
      return fault('streaming_unsupported', 'Streaming is not supported in a batch.', 'body.stream');
    }
    return this.#checkModel(body.model) ?? inputProblem(this.#options.endpoint, body);
  }

  #checkModel(given: unknown): LineFault | null {
    if (given !== undefined && !isModelName(given)) {
      const text = `The model must be a string of 1 to ${MODEL_CHARACTERS_MAX} characters.`;
      return fault('invalid_type', text, 'body.model');
    }
    const model = given ?? null;
    if (this.#model === undefined) {
      this.#model = model;
      const wanted = model ?? this.#options.model;
      if (wanted === null || !this.#options.isUnknownModel(wanted)) return null;
      return fault('model_not_found', `The model '${wanted}' is served by no endpoint.`, 'body.model');
    }
    if (model === this.#model) return null;
    const first = this.#model === null ? 'names none' : `asks for '${this.#model}'`;
    const text = `All lines must ask for the same model: the first one ${first}.`;
    return fault('model_mismatch', text, 'body.model');
  }
}

function readObject(bytes: Uint8Array): Fields | null {
  try {
    const value: unknown = JSON.parse(utf8.decode(bytes));
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

/** Of the whole line, as when it is opened. */
function nestingProblem(line: Fields): LineFault | null {
  if (!isDeeperThan(NESTING_MAX, line)) return null;
  const param = isDeeperThan(NESTING_MAX - 1, line.body) ? 'body' : null;
  return fault('invalid_type', `The line is nested more than ${NESTING_MAX} levels deep.`, param);
}

/** What the model is to work on. */
function inputProblem(endpoint: OpenaiEndpoint, body: Fields): LineFault | null {
  const name = INPUTS[endpoint];
  const input = body[name];
  if (isMissing(input)) return missingParameter(`body.${name}`);
  if (endpoint !== CHAT_COMPLETIONS) {
    const isUsable = typeof input === 'string' || (Array.isArray(input) && input.length > 0);
    const text = `body.${name} must be a string or an array that is not empty.`;
    return isUsable ? null : fault('invalid_type', text, `body.${name}`);
  }
  const isUsable = Array.isArray(input) && input.length > 0 && input.every(isMessage);
  const text = 'body.messages must be an array of messages that is not empty, each with a role.';
  return isUsable ? null : fault('invalid_type', text, 'body.messages');
}

const INPUTS: Readonly<Record<OpenaiEndpoint, string>> = {
  '/v1/chat/completions': 'messages',
  '/v1/completions': 'prompt',
  '/v1/embeddings': 'input',
};

function isMessage(value: unknown): boolean {
  return isRecord(value) && typeof value.role === 'string' && value.role !== '';
}

/** What is wrong with a line repeats the name, and must not grow with the file. */
function isModelName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MODEL_CHARACTERS_MAX;
}

function isMissing(value: unknown): boolean {
  return value === undefined || value === null;
}

function missingParameter(param: string): LineFault {
  return fault('missing_required_parameter', `Missing required parameter: '${param}'.`, param);
}

function fault(code: string, message: string, param: string | null): LineFault {
  return { code, message, param };
}
