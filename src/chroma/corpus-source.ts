// A corpus on disk, cut into chunks, readable as often as the bootstrap needs it, while the service already serves.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BaseLogger } from 'pino';
import type { CorpusChunk } from '../domain/corpus.ts';
import { chunkDocument } from './chunker.ts';
import { ExtractedFiles } from './corpus-extracted.ts';
import { readCorpus } from './corpus-reader.ts';
import { CorpusReport, type CorpusSummary } from './corpus-report.ts';
import type { CorpusSource } from './corpus-survey.ts';

export interface CorpusSourceOptions {
  readonly path: string;
  /** Most characters of a chunk. */
  readonly chunkCharacters: number;
  readonly log: BaseLogger;
}

export interface FileCorpus extends CorpusSource {
  /** What the last reading found that came to its end; null before that. */
  readonly report: CorpusSummary | null;
}

/** Work at one stretch, the consumer's included; then other callers of the event loop have their turn. */
const stretchMs = 5;

export function openCorpus({ path, chunkCharacters, log }: CorpusSourceOptions): FileCorpus {
  const sizes = { maxCharacters: chunkCharacters, minCharacters: Math.floor(chunkCharacters / 5) };
  const extracted = new ExtractedFiles();
  let summary: CorpusSummary | null = null;
  let told = '';
  // The corpus is read twice for each build; what was passed over is said once.
  const tell = (report: CorpusReport) => {
    summary = report.summary();
    const skipped = report.describeSkipped();
    if (skipped === told) return;
    told = skipped;
    if (skipped === '') return;
    log.warn({ corpus: path, problems: report.problems }, `parts of the corpus were passed over: ${skipped}`);
  };
  return {
    path,
    get report() {
      return summary;
    },
    async *chunks(): AsyncGenerator<CorpusChunk> {
      const report = new CorpusReport();
      let turnMs = performance.now();
      for await (const document of readCorpus(path, { report, extracted })) {
        for (const chunk of chunkDocument(document, sizes)) {
          report.chunks += 1;
          yield chunk;
          if (performance.now() - turnMs < stretchMs) continue;
          await nextTurn();
          turnMs = performance.now();
        }
      }
      tell(report);
    },
  };
}
