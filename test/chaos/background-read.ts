// A reader of results beside everything else that happens to a batch. What it got is judged when it has ended: by then
// the oracle knows the log.

import { strict as assert } from 'node:assert';
import type { ChaosService } from './chaos-service.ts';
import type { KnownBatch, ParsedRecord } from './known-batch.ts';

export type ReadQuery = Readonly<Record<string, string>>;

export class BackgroundRead {
  readonly known: KnownBatch;
  readonly query: ReadQuery;
  readonly #after: number;
  readonly #client = new AbortController();
  readonly #done: Promise<void>;
  #text = '';
  /** `refused`: an answer, but not 200. */
  end: 'open' | 'clean' | 'broken' | 'refused' = 'open';
  /** Ended by the reader itself. */
  #isLeft = false;

  constructor(service: ChaosService, known: KnownBatch, after: number, query: ReadQuery) {
    this.known = known;
    this.query = query;
    this.#after = after;
    const parameters = new URLSearchParams({ ...query, after: String(after) });
    this.#done = this.#read(`${service.url}/batches/${known.id}/results?${parameters}`);
  }

  /** Resolves when it has ended; a reader that still follows goes away by itself when told to. */
  async ended(isLeaving = false): Promise<void> {
    if (isLeaving && this.end === 'open') {
      this.#isLeft = true;
      this.#client.abort();
    }
    await this.#done;
  }

  async #read(url: string): Promise<void> {
    try {
      const answer = await fetch(url, { signal: this.#client.signal });
      if (answer.status !== 200) {
        this.end = 'refused';
        return;
      }
      const decoder = new TextDecoder();
      for await (const piece of answer.body ?? []) this.#text += decoder.decode(piece, { stream: true });
      this.end = 'clean';
    } catch {
      this.end = 'broken';
    }
  }

  /** I9 and I10; to be asked once it has ended and the oracle has read the log. */
  check({ isServiceDead }: { readonly isServiceDead: boolean }): void {
    const { known, query } = this;
    const what = `${known.id}, read after ${this.#after} with ${JSON.stringify(query)}, ended ${this.end}`;
    const lines = this.#text.split('\n');
    const partial = lines.pop() ?? '';
    if (this.end === 'clean') assert.equal(partial, '', `${what}: a part of a line`);
    if (this.end === 'refused') {
      assert.equal(known.status, 'gone', what);
      return;
    }
    if (this.end === 'broken')
      assert.ok(isServiceDead || this.#isLeft || known.status === 'gone', `${what}: by nobody`);
    if (query.order === 'input') this.#checkInputOrder(lines, what);
    else if (query.status !== undefined || query.latest !== undefined) this.#checkMembers(lines, what);
    else this.#checkPlain(lines, what);
  }

  #checkPlain(lines: readonly string[], what: string): void {
    const { published, runEnds, hasUnseenRunEnd } = this.known;
    const end = this.#after + lines.length;
    assert.deepEqual(lines, published.slice(this.#after, end), what);
    if (this.end !== 'clean' || this.query.follow === 'false' || hasUnseenRunEnd) return;
    assert.ok(runEnds.has(end), `${what}: cleanly, at ${end}, where no run has ended`);
  }

  #checkInputOrder(lines: readonly string[], what: string): void {
    const records = this.#checkMembers(lines, what);
    for (const [index, { line }] of records.entries()) {
      const before = index === 0 ? this.#after : records[index - 1]?.line;
      assert.ok(line > (before ?? 0), `${what}: line ${line} is out of order`);
    }
    if (this.end !== 'clean' || this.query.follow === 'false') return;
    assert.equal(
      records.length,
      this.known.lines.length - this.#after,
      `${what}: cleanly, with lines missing`,
    );
  }

  /** Every line of it stands in the log; with `latest` and a status each line of the batch at most once. */
  #checkMembers(lines: readonly string[], what: string): ParsedRecord[] {
    const records = lines.map((text) => {
      const record = JSON.parse(text) as ParsedRecord;
      assert.equal(text, this.known.published[record.seq - 1], `${what}: not as in the log`);
      return record;
    });
    assert.equal(new Set(records.map(({ line }) => line)).size, records.length, `${what}: a line twice`);
    if (this.query.status === 'failed')
      assert.ok(
        records.every(({ status }) => status !== 'succeeded'),
        what,
      );
    return records;
  }
}
