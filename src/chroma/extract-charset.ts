// The character encoding of an HTML file, as browsers find it without HTTP headers: byte order mark, then what the file
// says of itself in its first bytes, else UTF-8 where it is valid, else Windows-1252.
// Source: WHATWG HTML, "determining the character encoding" and "prescan a byte stream".

const prescanBytes = 1024;
const metaTag = /<meta\b[^>]*>/gi;
const charsetOfMeta = /\bcharset\s*=\s*["']?\s*([a-z0-9_:.-]+)/i;
const charsetOfXml = /^<\?xml\b[^>]*\bencoding\s*=\s*["']([a-z0-9_:.-]+)["']/i;
const comment = /<!--[\s\S]*?-->/g;

/** Labels for TextDecoder, the likeliest first. All but the last are to be decoded strictly, and given up at what is not in them. */
export function charsetCandidates(start: Buffer): string[] {
  const marked = charsetOfMark(start);
  if (marked !== null) return [marked];
  const declared = declaredCharset(start.subarray(0, prescanBytes).toString('latin1'));
  return [...new Set([...(declared === null ? [] : [declared]), 'utf-8', 'windows-1252'])];
}

function charsetOfMark(start: Buffer): string | null {
  if (start[0] === 0xef && start[1] === 0xbb && start[2] === 0xbf) return 'utf-8';
  if (start[0] === 0xfe && start[1] === 0xff) return 'utf-16be';
  if (start[0] === 0xff && start[1] === 0xfe) return 'utf-16le';
  return null;
}

/** In its canonical name; null where none is declared that could be decoded. */
function declaredCharset(head: string): string | null {
  const shown = head.replace(comment, '');
  const metas = shown.match(metaTag) ?? [];
  const labels = [charsetOfXml.exec(shown)?.[1], ...metas.map((meta) => charsetOfMeta.exec(meta)?.[1])];
  for (const label of labels) {
    const known = label === undefined ? null : canonicalName(label);
    // Whoever could be read as ASCII so far is not written in UTF-16, whatever it says.
    if (known !== null) return known.startsWith('utf-16') ? 'utf-8' : known;
  }
  return null;
}

function canonicalName(label: string): string | null {
  try {
    return new TextDecoder(label).encoding;
  } catch {
    return null;
  }
}
