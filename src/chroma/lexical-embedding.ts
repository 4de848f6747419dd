// The built-in way from a corpus to vectors: nothing to download, nothing to call.

import type { Embedding } from './corpus-survey.ts';
import { indexedText, LexicalEmbedder, lexicalIndex } from './lexical-embedder.ts';
import { CorpusStatistics } from './lexical-statistics.ts';

export const lexicalEmbedding: Embedding = {
  index: lexicalIndex,
  createEmbedder: async (chunks) => {
    const statistics = new CorpusStatistics();
    for await (const chunk of chunks) statistics.observe(indexedText(chunk));
    return new LexicalEmbedder(statistics);
  },
};
