// Answers a request for results: streams while a batch runs, a thing with a tag and a length once it has ended.

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Batch } from '../domain/batch.ts';
import { RagmillError } from '../errors.ts';
import { answerFinished, cut } from './finished-results.ts';
import { type LiveHead, type LiveResponse, sendLive } from './live-response.ts';
import { pump } from './pump.ts';
import { eventForm, ndjsonForm, type ResultForm } from './result-format.ts';
import { type ResultRequest, type ResultsEnd, streamResults } from './result-stream.ts';
import type { Services } from './services.ts';
import { Turns } from './turns.ts';

export interface AskedResults {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly results: ResultRequest;
  readonly heartbeatSeconds: number | null;
}

/** nginx would hold answers back to fill its buffers. */
const UNBUFFERED = { 'x-accel-buffering': 'no', 'cache-control': 'no-store', vary: 'accept' };

export class ResultsSender {
  readonly #services: Services;
  /** One row for all streams. */
  readonly #turns = new Turns();

  constructor(services: Services) {
    this.#services = services;
  }

  async sendEvents(asked: AskedResults, isResumed: boolean): Promise<FastifyReply> {
    const { results, reply } = asked;
    // No content: the one answer after which a browser does not connect again.
    if (isResumed && results.upToSeq !== null && (await this.#isAtEnd(results))) {
      return reply.code(204).send();
    }
    const head = { status: 200, headers: UNBUFFERED };
    return this.#send(asked, eventForm, head, (response) => this.#stream(response, asked, eventForm));
  }

  async sendUnfinished(asked: AskedResults): Promise<FastifyReply> {
    const head = { status: 200, headers: UNBUFFERED };
    return this.#send(asked, ndjsonForm, head, (response) => this.#stream(response, asked, ndjsonForm));
  }

  async sendFinished(asked: AskedResults, batch: Batch): Promise<FastifyReply> {
    const { request, reply, results } = asked;
    const answer = await answerFinished(this.#services.store, batch, results, request);
    if (answer.status === 304) return reply.code(304).headers(answer.headers).send();
    if (answer.status === 416) {
      reply.headers(answer.headers);
      throw new RagmillError(
        'range_not_satisfiable',
        'The results end before the first byte that the "Range" header asks for.',
      );
    }
    return this.#send(asked, ndjsonForm, answer, async (response) => {
      // Nothing is waited for here, and no blank line may come between the bytes that the tag stands for.
      const pieces = this.#pieces({ ...results, after: answer.after }, ndjsonForm, response.signal);
      const wanted: AsyncGenerator<Buffer, unknown> =
        answer.window === null ? pieces : cut(pieces, answer.window);
      await pump(response, wanted, null);
    });
  }

  async #send(
    { request, reply }: AskedResults,
    form: ResultForm,
    { status, headers }: LiveHead,
    produce: (response: LiveResponse) => Promise<void>,
  ): Promise<FastifyReply> {
    const { clock, closing, metrics } = this.#services;
    const head = { status, headers: { 'content-type': form.contentType, ...headers } };
    if (request.method === 'HEAD') return reply.code(status).headers(head.headers).send();
    metrics.resultStreams.inc();
    try {
      return await sendLive({ request, reply }, head, { clock, closing }, produce);
    } finally {
      metrics.resultStreams.dec();
    }
  }

  async #stream(response: LiveResponse, asked: AskedResults, form: ResultForm): Promise<void> {
    if (form.opening) await response.write(form.opening);
    const afterMs = asked.heartbeatSeconds === null ? form.keepAliveMs : asked.heartbeatSeconds * 1000;
    const keepAlive =
      afterMs === null ? null : { bytes: form.keepAlive, afterMs, clock: this.#services.clock };
    const end = await pump(response, this.#pieces(asked.results, form, response.signal), keepAlive);
    if (form.ending) await response.write(form.ending(end));
  }

  #pieces(results: ResultRequest, form: ResultForm, signal: AbortSignal): AsyncGenerator<Buffer, ResultsEnd> {
    const { store, clock } = this.#services;
    return streamResults({ store, clock, turns: this.#turns, format: form.page }, results, signal);
  }

  /** Whether nothing that is wanted comes any more. */
  async #isAtEnd(results: ResultRequest): Promise<boolean> {
    const pieces = this.#pieces(results, eventForm, this.#services.closing);
    const { done } = await pieces.next();
    await pieces.return(undefined as never);
    return done === true;
  }
}
