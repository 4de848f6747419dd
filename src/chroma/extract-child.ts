// The process that takes HTML and PDF files apart, one after the other, for the process that started it. It has its own
// memory and its own time, because such files come from anywhere: whatever one does to it, only this process ends.

import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { extractHtml } from './extract-html.ts';
import { extractPdf } from './extract-pdf.ts';
import {
  type Extraction,
  type ExtractionOrder,
  extractedFileMaxBytes,
  extractionFailure,
} from './extraction.ts';

process.once('disconnect', () => process.exit());
new Worker(new URL('./extract-watch.ts', import.meta.url)).unref();
process.on('message', async (order: ExtractionOrder) => {
  process.send?.(await extract(order));
});

async function extract({ path, kind }: ExtractionOrder): Promise<Extraction> {
  try {
    const { size } = await stat(path);
    const maxBytes = extractedFileMaxBytes[kind];
    if (size > maxBytes) return extractionFailure('too_large', `It is larger than ${maxBytes} bytes`);
    return await (kind === 'html' ? extractHtml(path) : extractPdf(path));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return extractionFailure('unreadable', `It cannot be read: ${message}`);
  }
}
