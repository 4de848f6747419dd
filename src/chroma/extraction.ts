// What becomes of a file that has to be taken apart before it is text: passed between the process that reads it and ours.

export type ExtractedKind = 'html' | 'pdf';

/**
 * - encrypted: it opens with a password only.
 * - damaged: its structure cannot be understood.
 * - no_text: nothing in it is text, as in scanned pages.
 * - too_large: the file, or its text, is larger than is read.
 * - too_complex: reading it took more memory than is given, or it is nested too deeply.
 * - too_slow: reading it took more time than is given.
 * - unreadable: the file cannot be opened.
 */
export type ExtractionFailureReason =
  | 'encrypted'
  | 'damaged'
  | 'no_text'
  | 'too_large'
  | 'too_complex'
  | 'too_slow'
  | 'unreadable';

export interface ExtractionFailure {
  readonly kind: 'failure';
  readonly reason: ExtractionFailureReason;
  /** One sentence without the file. */
  readonly message: string;
}

export interface ExtractedText {
  readonly kind: 'text';
  readonly title: string | null;
  readonly text: string;
  /** Whether headings stand in the text as in Markdown. */
  readonly hasHeadings: boolean;
  /** Where each page begins, in UTF-16 code units of the text; empty where there are no pages. */
  readonly pageStarts: readonly number[];
  /** 1-based pages that could not be read and are missing in the text. */
  readonly missingPages: readonly number[];
}

export type Extraction = ExtractedText | ExtractionFailure;

/** One file to take apart. */
export interface ExtractionOrder {
  readonly path: string;
  readonly kind: ExtractedKind;
}

/** Larger files are not read. */
export const extractedFileMaxBytes: Readonly<Record<ExtractedKind, number>> = {
  html: 64 * 1024 * 1024,
  pdf: 128 * 1024 * 1024,
};

/** Of one file, in UTF-16 code units: some ten thousand pages. */
export const extractedTextMaxCharacters = 32 * 1024 * 1024;

export function extractionFailure(reason: ExtractionFailureReason, message: string): ExtractionFailure {
  return { kind: 'failure', reason, message };
}
