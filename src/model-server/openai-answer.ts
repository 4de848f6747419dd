// What a response in OpenAI's shape comes to: the text that stands for it in results, and whether it is an answer at all.
//
// 1. A chat completion answers with text, a call of a tool, a refusal of the model's own or sound, in any of its choices.
// 2. One that was cut by its limit or by a filter is an answer, even without a text: its user has asked for that limit.
// 3. The text is that of the first choice, without its reasoning.

import type { ModelFailure } from '../domain/failure.ts';
import type { ModelAnswer } from '../domain/generation.ts';
import type { OpenaiEndpoint } from '../domain/line.ts';
import { Completion, parseUsage, UNKNOWN_USAGE } from './completion.ts';
import { classOfErrorPayload, givenUpFailure, modelFailure, saidFailure } from './failures.ts';
import { stripReasoning } from './reasoning.ts';
import { excerpt, isRecord } from './server-words.ts';

type Fields = Readonly<Record<string, unknown>>;
type Judged = Omit<ModelAnswer, 'model' | 'response'> & { readonly model: string | null };

/** Servers have none where there is nothing to finish, and some leave it out. */
const NO_FINISH_REASON = 'stop';
const CUT: ReadonlySet<unknown> = new Set(['length', 'content_filter']);

/** Whether the payload has the shape of an answer to a request of this URL. */
export function isOpenaiAnswer(url: OpenaiEndpoint, payload: Fields): boolean {
  const list = url === '/v1/embeddings' ? payload.data : payload.choices;
  return Array.isArray(list) && list.length > 0 && list.every(isRecord);
}

/** What the payload says, which has that shape. */
export function openaiAnswer(
  url: OpenaiEndpoint,
  payload: Fields,
  apiKey: string | null,
): Judged | ModelFailure {
  const model = typeof payload.model === 'string' && payload.model !== '' ? payload.model : null;
  const usage = isRecord(payload.usage) ? parseUsage(payload.usage) : UNKNOWN_USAGE;
  const rest = { kind: 'success', model, usage } as const;
  if (url === '/v1/embeddings') return { ...rest, answer: '', finishReason: NO_FINISH_REASON };
  const choices = (payload.choices as readonly Fields[]).map((choice) => readChoice(choice, apiKey));
  const given = choices.find(({ failure }) => failure !== null)?.failure;
  if (given) return given;
  if (choices.every(({ isEmpty }) => isEmpty)) {
    return modelFailure('ambiguous', 'the model answered nothing', { code: 'empty_answer' });
  }
  const first = choices.find(({ index }) => index === 0) ?? choices[0];
  return { ...rest, answer: first?.text ?? '', finishReason: first?.finishReason ?? NO_FINISH_REASON };
}

function readChoice(choice: Fields, apiKey: string | null) {
  const completion = new Completion();
  completion.absorb({ choices: [{ ...choice, index: 0 }] });
  const { content, finishReason, hasToolCall, error } = completion;
  const text = stripReasoning(typeof choice.text === 'string' ? choice.text : content);
  const isBlank = text.trim() === '';
  return {
    index: choice.index ?? 0,
    text: isBlank ? '' : text,
    finishReason,
    isEmpty: isBlank && !hasToolCall && !CUT.has(finishReason) && !hasOther(choice.message),
    failure:
      error === null
        ? givenUpFailure(finishReason)
        : saidFailure(
            classOfErrorPayload(error),
            error,
            `the model server gave up the request: ${excerpt(error.message, apiKey)}`,
          ),
  };
}

/** What else than text and tools a message answers with. */
function hasOther(message: unknown): boolean {
  if (!isRecord(message)) return false;
  const { function_call: call, refusal, audio } = message;
  return isRecord(call) || isRecord(audio) || (typeof refusal === 'string' && refusal !== '');
}
