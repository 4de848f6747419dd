// Tokens without a tokenizer: four UTF-8 bytes are one token, in usage counts and in limits alike.

const BYTES_PER_TOKEN = 4;

/** The most a prompt may hold. It keeps one request to some milliseconds of work, since all share one thread. */
export const CONTEXT_LENGTH_TOKENS = 32_768;

/** Estimated tokens of a text: its UTF-8 bytes divided by four, rounded up. */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}

/** The beginning of `text` that fits into `maxTokens` (at least 1), cut after a word where one fits. */
export function cutToTokens(text: string, maxTokens: number): string {
  const maxBytes = maxTokens * BYTES_PER_TOKEN;
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxBytes) break;
    end += character.length;
  }
  if (end === text.length) return text;
  const lastSpace = text.lastIndexOf(' ', end);
  return text.slice(0, lastSpace > 0 ? lastSpace : end);
}
