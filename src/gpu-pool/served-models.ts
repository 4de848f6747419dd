// The models of an endpoint: what its server serves, and the one to ask for when a line names none.

import type { ServedModel } from '../domain/server-kind.ts';

export class ServedModels {
  readonly #configured: string | null;
  #served: readonly ServedModel[] = [];

  /** `configured`: the one to ask for by default, from the settings; null: the server's first. */
  constructor(configured: string | null) {
    this.#configured = configured;
  }

  update(served: readonly ServedModel[]): void {
    this.#served = served;
  }

  get ids(): string[] {
    return this.#served.map(({ id }) => id);
  }

  /** null: the server has none. */
  get default(): string | null {
    return this.#configured ?? this.#served[0]?.id ?? null;
  }

  /** Whether lines that ask for this model (null: any) can go there. */
  has(model: string | null): boolean {
    return model === null ? this.default !== null : this.#served.some(({ id }) => id === model);
  }

  /** Tokens of prompt and answer together; null: the server does not say. */
  contextTokensOf(model: string): number | null {
    return this.#served.find(({ id }) => id === model)?.contextTokens ?? null;
  }
}
