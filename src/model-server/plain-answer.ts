// The answer to a request that is only about the server itself: read whole, in bounds, or not at all.

import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { parseJson } from './server-words.ts';

export interface PlainAnswer {
  readonly status: number;
  readonly text: string;
}

/** Asks a path of one server; null: no whole answer of a bearable size came in time. Never rejects. */
export type Ask = (path: string) => Promise<PlainAnswer | null>;

export class PlainResponse implements ResponseReader {
  readonly #decoder = new TextDecoder();
  #status = 0;
  #text = '';

  head(status: number, _headers: ResponseHeaders): void {
    this.#status = status;
  }

  body(bytes: Uint8Array): void {
    this.#text += this.#decoder.decode(bytes, { stream: true });
  }

  conclude(end: ExchangeEnd): PlainAnswer | null {
    return end.kind === 'ended' ? { status: this.#status, text: this.#text } : null;
  }
}

/** The JSON that an answer with status 200 holds; undefined where there is none. */
export function jsonOf(answer: PlainAnswer | null): unknown {
  return answer?.status === 200 ? parseJson(answer.text) : undefined;
}
