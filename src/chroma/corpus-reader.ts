// The corpus as documents, one after the other: a folder of Markdown, text, HTML, PDF and JSONL files, or one such file.
//
// 1. The same files give the same documents in the same order, on every machine.
// 2. One bad file or line is reported and passed over; only a corpus that cannot be read at all, or that has no
//    document, is an error.
// 3. In memory are one text file or one JSONL line, and the ids seen. HTML and PDF are taken apart in another process.

import { access, constants, readFile, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import type { CorpusDocument } from '../domain/corpus.ts';
import { RagmillError } from '../errors.ts';
import { markdownTitle } from './chunk-markdown.ts';
import { ExtractedFiles } from './corpus-extracted.ts';
import { type CorpusFile, filesOf } from './corpus-folder.ts';
import { parseCorpusLine } from './corpus-jsonl.ts';
import { linesOfFile } from './corpus-lines.ts';
import { type CorpusProblem, CorpusReport } from './corpus-report.ts';
import type { ExtractedKind } from './extraction.ts';

/** A text file is read as a whole, and a book has about a megabyte: a larger one is no prose. */
const textFileMaxBytes = 64 * 1024 * 1024;
/** As long as an uploaded line may be. */
const jsonLineMaxBytes = 10 * 1024 * 1024;

const supportedKinds = '.md, .txt, .html, .pdf and .jsonl';

type FileKind = 'markdown' | 'plain' | 'jsonl' | ExtractedKind;
const kindsByExtension: Readonly<Record<string, FileKind>> = {
  '.md': 'markdown',
  '.markdown': 'markdown',
  '.txt': 'plain',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.html': 'html',
  '.htm': 'html',
  '.pdf': 'pdf',
};

interface Reading {
  readonly report: CorpusReport;
  readonly extracted: ExtractedFiles;
}

/** A document and the line it stands on, null in a file of its own. */
interface ReadDocument {
  readonly document: CorpusDocument;
  readonly line: number | null;
}

/**
 * Reads the corpus and fills the report on the way. Throws `corpus_unreadable` or, at the end, `corpus_empty`.
 */
export async function* readCorpus(
  path: string,
  { report = new CorpusReport(), extracted = new ExtractedFiles() }: Partial<Reading> = {},
): AsyncGenerator<CorpusDocument> {
  // The process that takes files apart ends with the reading.
  await using reading = { report, extracted, [Symbol.asyncDispose]: () => extracted[Symbol.asyncDispose]() };
  const seen = new Set<string>();
  for await (const file of await corpusFiles(path, report)) {
    for await (const { document, line } of documentsOf(file, reading)) {
      if (seen.has(document.id)) {
        const message = `The id "${document.id}" stands on an earlier document`;
        report.addProblem({ file: file.name, line, reason: 'duplicate_id', message });
        continue;
      }
      seen.add(document.id);
      report.documents += 1;
      yield document;
    }
  }
  if (report.documents > 0) return;
  const skipped = report.describeSkipped() || 'no file was found';
  throw new RagmillError(
    'corpus_empty',
    `The corpus ${path} has no document (${skipped}). Put ${supportedKinds} files there, or set CORPUS_PATH to a folder that has some.`,
  );
}

/** The files to read. Throws `corpus_unreadable`. */
async function corpusFiles(
  path: string,
  report: CorpusReport,
): Promise<AsyncIterable<CorpusFile> | Iterable<CorpusFile>> {
  try {
    if ((await stat(path)).isDirectory()) return await filesOf(path, report);
    await access(path, constants.R_OK);
    return [{ path, name: basename(path) }];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RagmillError(
      'corpus_unreadable',
      `The corpus ${path} cannot be read (${reason}). Set CORPUS_PATH to a folder of ${supportedKinds} files, or to one such file, that this user may read.`,
      { cause: error },
    );
  }
}

async function* documentsOf(file: CorpusFile, reading: Reading): AsyncGenerator<ReadDocument> {
  const { report } = reading;
  const extension = extname(file.name).toLowerCase();
  const kind = kindsByExtension[extension];
  try {
    if (kind === undefined) report.addUnsupported(extension || basename(file.name));
    else if (kind === 'jsonl') yield* jsonlDocuments(file, report);
    else if (kind === 'html' || kind === 'pdf') yield* extractedDocument(file, kind, reading);
    else yield* textDocument(file, kind, report);
  } catch (error) {
    const message = `It cannot be read: ${error instanceof Error ? error.message : error}`;
    report.addProblem({ file: file.name, line: null, reason: 'unreadable', message });
  }
}

async function* jsonlDocuments(file: CorpusFile, report: CorpusReport): AsyncGenerator<ReadDocument> {
  const skip = (line: number, reason: CorpusProblem['reason'], message: string) =>
    report.addProblem({ file: file.name, line, reason, message });
  for await (const { number: line, bytes } of linesOfFile(file.path, jsonLineMaxBytes)) {
    const text = bytes && decode(bytes);
    if (bytes === null) skip(line, 'too_large', `It is longer than ${jsonLineMaxBytes} bytes`);
    else if (text === null) skip(line, 'not_text', 'It is not UTF-8');
    else if (text.trim() !== '') {
      const parsed = parseCorpusLine(text, file.name);
      if (parsed.kind === 'document') yield { document: parsed.document, line };
      else skip(line, 'bad_line', parsed.message);
    }
  }
}

async function* extractedDocument(
  file: CorpusFile,
  kind: ExtractedKind,
  { report, extracted }: Reading,
): AsyncGenerator<ReadDocument> {
  const extraction = await extracted.extract(file.path, kind);
  if (extraction.kind === 'failure') {
    const { reason, message } = extraction;
    return report.addProblem({ file: file.name, line: null, reason, message });
  }
  const { title, text, hasHeadings, pageStarts, missingPages } = extraction;
  if (missingPages.length > 0) {
    const message = `${missingPages.length} of ${pageStarts.length} pages cannot be understood, the first is ${missingPages[0]}`;
    report.addProblem({ file: file.name, line: null, reason: 'missing_pages', message });
  }
  const named = { id: file.name, title: title ?? basename(file.name), source: file.name };
  yield { document: { ...named, text, metadata: {}, hasHeadings, pageStarts }, line: null };
}

async function* textDocument(
  file: CorpusFile,
  kind: 'markdown' | 'plain',
  report: CorpusReport,
): AsyncGenerator<ReadDocument> {
  const skip = (reason: CorpusProblem['reason'], message: string) =>
    report.addProblem({ file: file.name, line: null, reason, message });
  const { size } = await stat(file.path);
  if (size > textFileMaxBytes) return skip('too_large', `It is larger than ${textFileMaxBytes} bytes`);
  const text = decode(await readFile(file.path));
  if (text === null) return skip('not_text', 'It is not UTF-8 text');
  if (text.trim() === '') return skip('empty', 'It has no text');
  const hasHeadings = kind === 'markdown';
  const title = (hasHeadings && markdownTitle(text)) || basename(file.name);
  const named = { id: file.name, title, source: file.name };
  yield { document: { ...named, text, metadata: {}, hasHeadings, pageStarts: [] }, line: null };
}

/** Without a byte order mark. Null when it is not UTF-8, or has a NUL, which no text has. */
function decode(bytes: Buffer): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}
