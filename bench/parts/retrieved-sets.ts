// What the service has retrieved for each line of a batch, read from its results, and the prompts that it makes of that.

import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import type { Passage } from '../../src/domain/passage.ts';
import { buildRequestBody, DEFAULT_SYSTEM_PROMPT } from '../../src/generation/prompt.ts';
import { MODEL } from './slot-model-bytes.ts';
import { type Prompt, promptOf } from './slot-prompt.ts';

interface ResultLine {
  readonly line: number;
  readonly rag: { readonly documents: readonly { readonly id: string; readonly distance: number }[] } | null;
}

/** By line, from line 1 on: its passages, nearest first. `textOf`: by the id of a document of one passage. */
export async function retrievedSets(
  batchUrl: string,
  textOf: ReadonlyMap<string, string>,
): Promise<Passage[][]> {
  const answer = await fetch(`${batchUrl}/results?follow=false`);
  if (!answer.body) throw new Error(`no results: ${answer.status}`);
  const sets: Passage[][] = [];
  for await (const text of createInterface({ input: Readable.fromWeb(answer.body) })) {
    const { line, rag } = JSON.parse(text) as ResultLine;
    sets[line - 1] = (rag?.documents ?? [])
      .toSorted((left, right) => left.distance - right.distance)
      .map(({ id, distance }) => passageOf(id, textOf.get(id), distance));
  }
  return sets;
}

function passageOf(documentId: string, text: string | undefined, distance: number): Passage {
  if (text === undefined) throw new Error(`the corpus has no ${documentId}`);
  return { documentId, chunk: 0, title: null, source: null, text, distance };
}

/** The prompt of a line of the default form, with its passages in this order, as a server reads it. */
export function promptFor(query: string, passages: readonly Passage[]): Prompt {
  const { messages } = buildRequestBody({
    model: MODEL,
    request: { shape: 'native', query },
    systemPrompt: DEFAULT_SYSTEM_PROMPT,
    template: null,
    passageOrder: null,
    maxTokens: 1,
    temperature: 0,
    passages,
    digest: null,
  });
  return promptOf(messages ?? []);
}
