// A minimal writer of PDF files: enough for text at places, and for files that cannot be read.

export interface PdfString {
  /** In Latin-1. */
  readonly text: string;
  /** Points from the lower left corner. */
  readonly x: number;
  readonly y: number;
  /** Points; 12 if unset. */
  readonly size?: number;
}

export interface PdfContent {
  readonly pages: readonly (readonly PdfString[])[];
  readonly title?: string;
  /** Makes it ask for a password that nobody knows. */
  readonly isEncrypted?: boolean;
}

export function pdf({ pages, title, isEncrypted = false }: PdfContent): Buffer {
  const kids = pages.map((_page, index) => `${4 + 2 * index} 0 R`).join(' ');
  const objects = [
    '<</Type/Catalog/Pages 2 0 R>>',
    `<</Type/Pages/Kids[${kids}]/Count ${pages.length}/MediaBox[0 0 612 792]>>`,
    '<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>',
    ...pages.flatMap((page, index) => {
      const content = page.map(shown).join('\n');
      return [
        `<</Type/Page/Parent 2 0 R/Contents ${5 + 2 * index} 0 R/Resources<</Font<</F1 3 0 R>>>>>>`,
        `<</Length ${content.length}>>\nstream\n${content}\nendstream`,
      ];
    }),
    `<</Title(${escaped(title ?? '')})>>`,
    `<</Filter/Standard/V 1/R 2/P -4/O<${'5a'.repeat(32)}>/U<${'a5'.repeat(32)}>>>`,
  ];
  let file = '%PDF-1.4\n';
  const places = objects.map((object, index) => {
    const place = file.length;
    file += `${index + 1} 0 obj\n${object}\nendobj\n`;
    return `${String(place).padStart(10, '0')} 00000 n \n`;
  });
  const encryption = isEncrypted
    ? `/Encrypt ${objects.length} 0 R/ID[<${'00'.repeat(16)}><${'00'.repeat(16)}>]`
    : '';
  const count = objects.length + 1;
  const trailer = `<</Size ${count}/Root 1 0 R/Info ${objects.length - 1} 0 R${encryption}>>`;
  const table = `xref\n0 ${count}\n0000000000 65535 f \n${places.join('')}`;
  return Buffer.from(`${file}${table}trailer\n${trailer}\nstartxref\n${file.length}\n%%EOF\n`, 'latin1');
}

/** Lines below each other, from the top of the page. */
export function pdfLines(...texts: readonly string[]): PdfString[] {
  return texts.map((text, index) => ({ text, x: 72, y: 700 - 14 * index }));
}

function shown({ text, x, y, size = 12 }: PdfString): string {
  return `BT /F1 ${size} Tf ${x} ${y} Td (${escaped(text)}) Tj ET`;
}

function escaped(text: string): string {
  return text.replace(/[\\()]/g, '\\$&');
}
