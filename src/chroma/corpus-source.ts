// A corpus on disk, cut into chunks, readable as often as the bootstrap needs it.

import type { BaseLogger } from 'pino';
import type { CorpusChunk } from '../domain/corpus.ts';
import { chunkDocument } from './chunker.ts';
import { readCorpus } from './corpus-reader.ts';
import { CorpusReport } from './corpus-report.ts';
import type { CorpusSource } from './corpus-survey.ts';

export interface CorpusSourceOptions {
  readonly path: string;
  /** Most characters of a chunk. */
  readonly chunkCharacters: number;
  readonly log: BaseLogger;
}

export function openCorpus(options: CorpusSourceOptions): CorpusSource {
  const sizes = {
    maxCharacters: options.chunkCharacters,
    minCharacters: Math.floor(options.chunkCharacters / 5),
  };
  let isReported = false;
  return {
    path: options.path,
    async *chunks(): AsyncGenerator<CorpusChunk> {
      const report = new CorpusReport();
      for await (const document of readCorpus(options.path, report)) {
        yield* chunkDocument(document, sizes);
      }
      // The corpus is read twice; what was passed over is said once.
      if (isReported) return;
      isReported = true;
      const skipped = report.describeSkipped();
      if (skipped !== '')
        options.log.warn(
          { corpus: options.path, problems: report.problems },
          `parts of the corpus were passed over: ${skipped}`,
        );
    },
  };
}
