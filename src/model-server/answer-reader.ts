// Reads the body of a chat completion as it arrives, stream or document. Which of the two it is, the first
// character says: content types lie, and some servers send a document although a stream was asked for.

import { Completion } from './completion.ts';
import { errorInBody, parseJson } from './server-words.ts';
import { type ServerSentEvent, SseParser } from './sse-parser.ts';

/** How much of a body is kept to say what it was when it turns out to be nonsense. */
const HEAD_MAX_CHARS = 1024;

const END_OF_STREAM = '[DONE]';

export class AnswerReader {
  readonly completion = new Completion();
  readonly #decoder = new TextDecoder();
  readonly #events = new SseParser();
  #form: 'unknown' | 'stream' | 'document' = 'unknown';
  #head = '';
  #document = '';
  #isMalformed = false;
  #isDone = false;

  /** True when the bytes brought something that counts as progress: comments and half events do not. */
  push(bytes: Uint8Array): boolean {
    return this.#pushText(this.#decoder.decode(bytes, { stream: true }));
  }

  /** No more bytes will come. */
  end(): void {
    this.#pushText(this.#decoder.decode());
    if (this.#form === 'document') {
      const payload = parseJson(this.#document);
      if (payload === undefined) this.#isMalformed = true;
      else this.completion.absorb(payload);
    }
    const last = this.#events.end();
    if (last !== null) this.#takeEvent(last);
  }

  /**
   * The whole answer is there, whatever happens to the connection afterwards. The end of the stream alone does not say so:
   * a server that drops one request for another (llama-cpp-python does by default) sends it after half an answer.
   */
  get isComplete(): boolean {
    return !this.#isMalformed && this.completion.hasChoice && this.completion.finishReason !== null;
  }

  /** The server has ended an answer without saying why. */
  get isBrokenOff(): boolean {
    return this.#isDone && this.completion.hasChoice && this.completion.finishReason === null;
  }

  /** How the body began. */
  get head(): string {
    return this.#head;
  }

  #pushText(text: string): boolean {
    if (text === '') return false;
    if (this.#head.length < HEAD_MAX_CHARS) this.#head += text.slice(0, HEAD_MAX_CHARS);
    if (this.#form === 'unknown') this.#form = formOf(this.#head);
    if (this.#form === 'document') {
      this.#document += text;
      return true;
    }
    const events = this.#events.push(text);
    for (const event of events) this.#takeEvent(event);
    return events.length > 0;
  }

  #takeEvent({ event, data }: ServerSentEvent): void {
    if (data === END_OF_STREAM) {
      this.#isDone = true;
      return;
    }
    const payload = parseJson(data);
    if (event === 'error') this.completion.error ??= errorInBody(data);
    if (payload !== undefined) this.completion.absorb(payload);
    // After the finish reason only counts can be lost, before it a piece of the answer.
    else if (this.completion.finishReason === null) this.#isMalformed = true;
  }
}

function formOf(head: string): 'unknown' | 'stream' | 'document' {
  const first = head.trimStart()[0];
  if (first === undefined) return 'unknown';
  return first === '{' || first === '[' || first === '<' ? 'document' : 'stream';
}
