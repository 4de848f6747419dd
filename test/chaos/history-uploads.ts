// Uploads of a history: what is sent, what must be answered, and which key stands for what.

import { strict as assert } from 'node:assert';
import { request as httpRequest } from 'node:http';
import type { Answer, ChaosService } from './chaos-service.ts';
import type { UploadStep } from './history-steps.ts';
import type { KnownBatch } from './known-batch.ts';
import { badLine, duplicateOf, goodLine, type MarkedLine, refusedLine } from './marked-lines.ts';
import type { BatchObject, Oracle, UploadAttempt } from './oracle.ts';
import { attempt, send } from './upload.ts';

interface SentUpload {
  readonly sent: UploadAttempt;
  readonly options: UploadStep['options'];
  readonly key: string | null;
}

let lastUpload = 0;

export class HistoryUploads {
  readonly #service: ChaosService;
  readonly #oracle: Oracle;
  readonly #uploads: SentUpload[] = [];
  /** Who holds a key, as far as an answer has said. */
  readonly #holders = new Map<string, KnownBatch>();
  /** Batches and lines that were acknowledged. */
  acknowledgedBatches = 0;
  acknowledgedLines = 0;

  constructor(service: ChaosService, oracle: Oracle) {
    this.#service = service;
    this.#oracle = oracle;
  }

  async upload(step: UploadStep): Promise<void> {
    const upload: SentUpload = {
      sent: attemptOf(step),
      options: step.options,
      key: step.hasKey ? `key-${process.pid}-${lastUpload}` : null,
    };
    this.#uploads.push(upload);
    await this.#send(upload);
  }

  /** The same once more, or something else under its key. */
  async again(number: number, isSame: boolean): Promise<void> {
    const keyed = this.#uploads.filter(({ key }) => key !== null);
    const earlier = keyed[number % keyed.length];
    if (!earlier) return;
    const other = attemptOf({ ...OTHER, options: earlier.options });
    await this.#send(isSame ? earlier : { ...earlier, sent: other });
  }

  /** The connection breaks after a share of the body: nothing may be left of it. */
  async cut(count: number, share: number): Promise<void> {
    const { lines, tag } = attemptOf({ ...OTHER, good: count });
    const body = Buffer.from(lines.map(({ text }) => text).join('\n'));
    const path = `/batches?metadata=${encodeURIComponent(JSON.stringify({ tag: `cut-${tag}` }))}`;
    await new Promise<void>((resolve) => {
      const request = httpRequest(`${this.#service.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson', 'content-length': body.length },
      });
      request.on('error', () => resolve());
      request.on('response', (response) => response.resume());
      request.on('close', () => resolve());
      request.write(body.subarray(0, Math.floor(body.length * share)), () => request.destroy());
    });
  }

  async #send(upload: SentUpload): Promise<void> {
    const { sent, options, key } = upload;
    const given = key === null ? { options } : { options, idempotencyKey: key };
    const answer = await send(this.#service, sent, given);
    if (answer === null) {
      this.#oracle.lostUploads.set(sent.tag, sent);
      return;
    }
    const holder = key === null ? undefined : this.#holders.get(key);
    if (answer.status === 201) this.#accepted(upload, JSON.parse(answer.text) as BatchObject, holder);
    else this.#refused(upload, answer, holder);
  }

  #accepted({ sent, options, key }: SentUpload, batch: BatchObject, holder: KnownBatch | undefined): void {
    const known = this.#oracle.batches.get(batch.id);
    assert.equal(batch.metadata?.tag, sent.tag, `another batch than was sent: ${batch.id}`);
    if (holder && holder.id !== batch.id)
      assert.ok(holder.reachable([]).has('gone'), `two batches under one key: ${holder.id}, ${batch.id}`);
    if (known) this.#oracle.observe(known, batch);
    else {
      assert.ok(mustBeTaken(sent.lines, options), `an upload was taken that cannot be: ${batch.id}`);
      this.acknowledgedBatches += 1;
      this.acknowledgedLines += sent.lines.length;
    }
    const now = known ?? this.#oracle.acknowledged(sent, batch);
    if (key !== null) this.#holders.set(key, now);
  }

  #refused({ sent, options }: SentUpload, answer: Answer, holder: KnownBatch | undefined): void {
    const { code } = JSON.parse(answer.text) as { code: string };
    if (code === 'idempotency_key_reused') {
      // Whoever holds the key may be a batch whose own answer was lost.
      assert.ok(holder?.status !== 'gone' && holder?.lines !== sent.lines, answer.text);
      return;
    }
    assert.ok(!mustBeTaken(sent.lines, options), `refused: ${answer.text}`);
    assert.ok(code === 'invalid_lines' || code === 'empty_upload', answer.text);
  }
}

const OTHER: UploadStep = {
  do: 'upload',
  good: 3,
  refused: 0,
  bad: 0,
  duplicates: 0,
  options: {},
  hasKey: false,
};

function attemptOf({ good, refused, bad, duplicates, options }: UploadStep): UploadAttempt {
  lastUpload += 1;
  const name = `u${lastUpload}`;
  const lines: MarkedLine[] = [];
  const next = () => lines.length + 1;
  for (let count = 0; count < good; count += 1) lines.push(goodLine(name, next()));
  for (let count = 0; count < refused; count += 1) lines.push(refusedLine(name, next()));
  for (let count = 0; count < bad; count += 1) lines.push(badLine(name, next()));
  const [first] = lines;
  for (let count = 0; first?.isGood && count < duplicates; count += 1) lines.push(duplicateOf(next(), first));
  return attempt(lines, {
    pausesByItself: 'pause_after' in options || 'max_failures' in options,
    expires: 'completion_window' in options,
  });
}

function mustBeTaken(lines: readonly MarkedLine[], options: UploadStep['options']): boolean {
  const good = lines.filter(({ isGood }) => isGood).length;
  return good > 0 && (options.on_invalid !== 'reject' || good === lines.length);
}
