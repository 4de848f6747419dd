// OpenAI's own client against a running service, and what tests ask of it again and again.

import OpenAI, { toFile } from 'openai';
import type { Batch, BatchCreateParams } from 'openai/resources/batches';
import type { FileObject } from 'openai/resources/files';
import { until } from './until.ts';

/** The options of ragmill's own, which OpenAI's types do not know. */
type Extra = { readonly ragmill?: Readonly<Record<string, unknown>> };

/** An entry of an output or error file. */
export interface FileEntry {
  readonly id: string;
  readonly custom_id: string;
  readonly response: {
    readonly status_code: number;
    readonly request_id: string;
    readonly body: {
      readonly choices?: readonly { readonly message: { readonly content: string } }[];
      readonly ragmill?: { readonly rag: { readonly documents: readonly { readonly id: string }[] } };
      readonly error?: object;
    };
  } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

const ENDED = ['completed', 'failed', 'cancelled', 'expired'];

/** A line that asks for a chat completion. */
export function chatLine(customId: string, content: string, body: object = {}): string {
  return JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'fake-model', messages: [{ role: 'user', content }], ...body },
  });
}

export class OpenaiClient {
  readonly api: OpenAI;

  constructor(serviceUrl: string) {
    // What fails is to be seen as it fails.
    this.api = new OpenAI({ baseURL: `${serviceUrl}/v1`, apiKey: 'sk-none', maxRetries: 0 });
  }

  async upload(lines: string | readonly string[], filename = 'requests.jsonl'): Promise<FileObject> {
    const text = typeof lines === 'string' ? lines : lines.join('\n');
    return this.api.files.create({ file: await toFile(Buffer.from(text), filename), purpose: 'batch' });
  }

  async create(fileId: string, more: Partial<BatchCreateParams> & Extra = {}): Promise<Batch> {
    return this.api.batches.create({
      input_file_id: fileId,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      ...more,
    });
  }

  /** A batch of these lines. */
  async run(
    lines: string | readonly string[],
    more: Partial<BatchCreateParams> & Extra = {},
  ): Promise<Batch> {
    return this.create((await this.upload(lines)).id, more);
  }

  async until(batchId: string, what: string, isTrue: (batch: Batch) => boolean): Promise<Batch> {
    let batch = await this.api.batches.retrieve(batchId);
    await until(what, async () => {
      batch = await this.api.batches.retrieve(batchId);
      return isTrue(batch);
    });
    return batch;
  }

  ended(batchId: string): Promise<Batch> {
    return this.until(batchId, 'the batch to end', ({ status }) => ENDED.includes(status));
  }

  /** What stands in a file of results, by custom_id. */
  async entries(fileId: string | null | undefined): Promise<Map<string, FileEntry>> {
    const text = await (await this.api.files.content(String(fileId))).text();
    const entries = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as FileEntry);
    return new Map(entries.map((entry) => [entry.custom_id, entry]));
  }
}
