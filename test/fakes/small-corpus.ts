// A small corpus in memory: enough to tell right passages from wrong ones.

import type { CorpusSource } from '../../src/chroma/corpus-survey.ts';
import type { CorpusChunk } from '../../src/domain/corpus.ts';

const sentences = [
  'The lighthouse keeper polishes the lens every morning before the fog lifts.',
  'Glaciers carve valleys slowly and leave moraines behind.',
  'A sourdough starter wants flour and water every day.',
  'The violin maker varnishes spruce and maple with amber resin.',
  'Migrating geese steer by stars and by the coast.',
];

/** `count` chunks, one a document; the first five differ in every word, the rest are numbered variations. */
export function smallCorpus(count = sentences.length): CorpusSource & { texts: string[] } {
  const texts = Array.from({ length: count }, (_unused, index) => {
    const sentence = sentences[index % sentences.length] ?? '';
    return index < sentences.length ? sentence : `${sentence} Variation number${index}.`;
  });
  return {
    path: 'memory',
    texts,
    async *chunks(): AsyncGenerator<CorpusChunk> {
      for (const [index, text] of texts.entries()) {
        const documentId = `doc-${index}`;
        yield {
          documentId,
          chunk: 0,
          title: null,
          source: `notes/${index}.md`,
          text,
          metadata: { part: index % 2 },
        };
      }
    },
  };
}
