// Everything about one line: what was asked, how each run of it ended, and the exact prompt that was sent, built again
// from what the batch keeps.

import type { Batch } from '../domain/batch.ts';
import type { Passage } from '../domain/passage.ts';
import type { DigestDetails, KeptPassage, RecordDetails } from '../domain/record.ts';
import { cutPassages } from '../generation/context-cut.ts';
import type { RequestBody } from '../generation/prompt.ts';
import { buildRequestBody } from '../generation/prompt.ts';
import { promptHash } from '../generation/run-task.ts';
import type { Store } from '../store/store.ts';
import { parseLine } from './line-parser.ts';
import { answerPrompt, digestPrompt, type LinePrompt } from './line-prompt.ts';

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
    readonly prompt: RequestBody | null;
    /** The call that wrote the digest; null: none was asked for. */
    readonly digest: DigestView | null;
  }[];
}

export interface DigestView {
  readonly attempts: DigestDetails['attempts'];
  /** As it stands in the prompt; null: it could not be used. */
  readonly text: string | null;
  readonly prompt: RequestBody | null;
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
  const parsed = parseLine(history.input, batch.options);
  const runs = history.records.map((record) => {
    const passages = passagesOf(record.details, texts);
    const asked = 'code' in parsed ? null : { parsed, passages: withDistance(passages) };
    const digest = record.details?.digest ?? null;
    const passageOrder = record.details?.passageOrder ?? null;
    const answering = asked && answerPrompt({ ...asked, passageOrder, digest }, defaultSystemPrompt);
    return {
      run: record.run,
      isCurrent: record.isCurrent,
      result: record.body,
      attempts: record.details?.attempts ?? [],
      passages,
      prompt: asSent(record.details, answering),
      digest: digest && {
        attempts: digest.attempts,
        text: digest.text,
        prompt: asSent(
          digest,
          asked && digestPrompt({ ...asked, passageOrder: digest.passageOrder ?? null }, digest.maxTokens),
        ),
      },
    };
  });
  const current = history.records.find(({ isCurrent }) => isCurrent);
  return { status: history.open ?? current?.status ?? 'queued', input: history.input.toString(), runs };
}

function passagesOf(details: RecordDetails | null, texts: ReadonlyMap<string, KeptPassage>): KeptPassage[] {
  return (details?.passages ?? []).flatMap((hash) => texts.get(hash) ?? []);
}

/** No prompt shows how far a passage was. */
function withDistance(passages: readonly KeptPassage[]): Passage[] {
  return passages.map((passage) => ({ ...passage, distance: 0 }));
}

/** Only a prompt whose hash is the one that was sent is shown. */
function asSent(
  sent: Pick<RecordDetails, 'promptHash' | 'model' | 'contextCut'> | null,
  prompt: LinePrompt | null,
): RequestBody | null {
  if (!sent?.promptHash || sent.model === null || prompt === null) return null;
  const passages = cutPassages(prompt.passages, sent.contextCut ?? null);
  const body = buildRequestBody({ model: sent.model, ...prompt, passages });
  return promptHash(body) === sent.promptHash ? body : null;
}
