// What may be the name of a collection: Chroma's own rules, checked before anything is done, and the names that builds
// in progress get.

import { RagmillError } from '../errors.ts';

/** Chroma's limit is 512; the rest is for the suffix of a build. */
const nameMaxCharacters = 480;
const allowed = /^[a-zA-Z0-9][a-zA-Z0-9._-]+[a-zA-Z0-9]$/;
const retiredSuffix = '.retired';
/** Chroma refuses IPv4 addresses, also when the suffix of a build completes one. */
const addressLike = /^\d+\.\d+\.\d+(\.\d+)?$/;

/** Throws `config_invalid` for a name that Chroma would refuse. */
export function checkCollectionName(name: string): void {
  const isUsable = allowed.test(name) && name.length <= nameMaxCharacters;
  if (isUsable && !name.includes('..') && !addressLike.test(name)) return;
  throw new RagmillError(
    'config_invalid',
    `CHROMA_COLLECTION: "${name}" cannot be the name of a collection: it must have 3 to ${nameMaxCharacters} characters from a-z, A-Z, 0-9, ` +
      '"." (not two in a row), "_" and "-", begin and end with a letter or digit, and not look like an IP address.',
  );
}

/**
 * `build`: where rank 0 builds before it swaps. `retired`: where the collection that a build replaces goes until nobody
 * reads it any more. The fencing token makes the names its own; where somebody else's collection has one of them, it is
 * written with more zeros before it.
 */
export function buildNames(
  name: string,
  token: number,
  taken: ReadonlySet<string>,
): { build: string; retired: string } {
  for (let number = `${token}`; ; number = `0${number}`) {
    const build = `${name}.${number}`;
    const retired = `${build}${retiredSuffix}`;
    if (!taken.has(build) && !taken.has(retired)) return { build, retired };
  }
}

/** Whether `candidate` is the name of some build of `name`, or of what a build replaced. */
export function isBuildName(candidate: string, name: string): boolean {
  return candidate.startsWith(`${name}.`) && /^\d+(\.retired)?$/.test(candidate.slice(name.length + 1));
}

/** Whether the name is one that only retiring gives. */
export function isRetiredName(candidate: string): boolean {
  return candidate.endsWith(retiredSuffix);
}
