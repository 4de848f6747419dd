// One copy in memory of each passage that many lines in hand have found.

/** Texts of each of two generations. */
const GENERATION_TEXTS = 8_192;

export class SharedTexts {
  #young = new Map<string, string>();
  #old = new Map<string, string>();

  /** The same text, and the same string as before if it was asked for lately. */
  of(text: string): string {
    const shared = this.#young.get(text) ?? this.#old.get(text) ?? text;
    if (this.#young.size >= GENERATION_TEXTS) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(shared, shared);
    return shared;
  }
}
