// How many bytes of a prompt make a token, by model: there are as many tokenizers as models, and none of them here.
//
// 1. A model nobody has heard of starts low: rather a passage too few than a prompt that is too long.
// 2. A prompt with fewer bytes to the token is believed at once, one with more bit by bit: languages mix in a batch, and
//    the next prompt has to fit as well.
// 3. What is learned stays between bounds, whatever servers say, and so does the number of models.

/** English has 4 to 5, Chinese 3 to 5, code about 3. */
const START = 3;
const MIN = 1;
const MAX = 8;
/** Weight of the newest prompt. */
const DOWN_SHARE = 0.5;
const UP_SHARE = 0.1;
const MODELS_MAX = 256;

export class TokenRatios {
  readonly #byModel = new Map<string, number>();

  /** UTF-8 bytes a token; for null, a model that is not known yet, as few as for any. */
  of(model: string | null): number {
    if (model !== null) return this.#byModel.get(model) ?? START;
    return this.#byModel.size === 0 ? START : Math.min(...this.#byModel.values());
  }

  /** A prompt had so many bytes to the token; undefined: nobody knows. */
  learn(model: string, bytesPerToken: number | undefined): void {
    if (bytesPerToken === undefined || !Number.isFinite(bytesPerToken)) return;
    const sample = Math.min(MAX, Math.max(MIN, bytesPerToken));
    const ratio = this.of(model);
    const share = sample < ratio ? DOWN_SHARE : UP_SHARE;
    if (!this.#byModel.has(model) && this.#byModel.size >= MODELS_MAX) this.#byModel.clear();
    this.#byModel.set(model, ratio + share * (sample - ratio));
  }
}
