// What any line must keep to, whichever face it comes by.

export const CUSTOM_ID_CHARACTERS_MAX = 256;
/** Deeper values can be read but not written again: JSON.stringify and structured clones recurse. */
export const NESTING_MAX = 100;

export function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((part) => isDeeperThan(levels - 1, part));
}
