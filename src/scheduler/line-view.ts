// Everything about one line: what was asked, how each run of it ended, and the exact prompt that was sent, built again
// from what the batch keeps.

import type { Batch } from '../domain/batch.ts';
import type { KeptPassage, RecordDetails } from '../domain/record.ts';
import { cutPassages } from '../generation/context-cut.ts';
import type { ChatCompletionBody } from '../generation/prompt.ts';
import { buildChatBody } from '../generation/prompt.ts';
import { promptHash } from '../generation/run-task.ts';
import type { LineHistory, Store } from '../store/store.ts';
import { parseLine } from './line-parser.ts';

export interface LineView {
  readonly status: string;
  /** The line as uploaded, as text. */
  readonly input: string;
  readonly runs: readonly {
    readonly run: number;
    readonly isCurrent: boolean;
    /** The result line as JSON. */
    readonly result: string;
    readonly attempts: RecordDetails['attempts'];
    readonly passages: readonly KeptPassage[];
    /** null: nothing was sent, or it cannot be built again. */
    readonly prompt: ChatCompletionBody | null;
  }[];
}

/** null: the batch has no such line. */
export async function viewLine(
  store: Pick<Store, 'lineHistory' | 'readPassages'>,
  batch: Batch,
  line: number,
  defaultSystemPrompt: string,
): Promise<LineView | null> {
  const history = await store.lineHistory(batch.id, line);
  if (!history) return null;
  const hashes = history.records.flatMap(({ details }) => details?.passages ?? []);
  const texts = await store.readPassages(batch.id, hashes);
  const runs = history.records.map((record) => {
    const passages = passagesOf(record.details, texts);
    return {
      run: record.run,
      isCurrent: record.isCurrent,
      result: record.body,
      attempts: record.details?.attempts ?? [],
      passages,
      prompt: promptOf({ batch, history, details: record.details, passages, defaultSystemPrompt }),
    };
  });
  const current = history.records.find(({ isCurrent }) => isCurrent);
  return { status: history.open ?? current?.status ?? 'queued', input: history.input.toString(), runs };
}

function passagesOf(details: RecordDetails | null, texts: ReadonlyMap<string, KeptPassage>): KeptPassage[] {
  return (details?.passages ?? []).flatMap((hash) => texts.get(hash) ?? []);
}

/** Only a prompt whose hash is the one that was sent is shown. */
function promptOf(from: {
  batch: Batch;
  history: LineHistory;
  details: RecordDetails | null;
  passages: readonly KeptPassage[];
  defaultSystemPrompt: string;
}): ChatCompletionBody | null {
  const { batch, history, details, passages, defaultSystemPrompt } = from;
  if (!details?.promptHash || details.model === null) return null;
  const parsed = parseLine(history.input, batch.options);
  if ('code' in parsed) return null;
  const body = buildChatBody({
    model: details.model,
    request: parsed.request,
    systemPrompt: parsed.options.systemPrompt ?? defaultSystemPrompt,
    template: parsed.options.template,
    maxTokens: parsed.options.maxTokens,
    temperature: parsed.options.temperature,
    passages: cutPassages(
      passages.map((passage) => ({ ...passage, distance: 0 })),
      details.contextCut ?? null,
    ),
  });
  return promptHash(body) === details.promptHash ? body : null;
}
