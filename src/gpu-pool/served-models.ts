// The models of an endpoint: what its server serves, and the one to ask for when a line names none.

import type { ServedModel, ServerKind, ServerReport } from '../domain/server-kind.ts';
import { withTag } from '../model-server/ollama-names.ts';

export class ServedModels {
  readonly #configured: string | null;
  #server: ServerKind | null = null;
  #served: readonly ServedModel[] = [];
  /** Models that nobody chats with. */
  #others: readonly ServedModel[] = [];
  /** Names of all that were ever served, as the server tells them apart. */
  readonly #before = new Set<string>();

  /** `configured`: the one to ask for by default, from the settings; null: the server's first. */
  constructor(configured: string | null) {
    this.#configured = configured;
  }

  update({ server, models, otherModels }: Pick<ServerReport, 'server' | 'models' | 'otherModels'>): void {
    this.#server = server;
    this.#served = models;
    this.#others = otherModels;
    for (const { id } of [...models, ...otherModels]) this.#before.add(this.#nameOf(id));
  }

  /** The server is gone. What it has served is still known. */
  clear(): void {
    this.#served = [];
    this.#others = [];
  }

  /** Of those that chat. */
  get ids(): string[] {
    return this.#served.map(({ id }) => id);
  }

  /** null: the server has none. */
  get default(): string | null {
    return this.#configured ?? this.#served[0]?.id ?? null;
  }

  /** What a request can try out: the default, or where nothing chats, the first of the others; null: nothing. */
  get toTry(): { readonly model: string; readonly chats: boolean } | null {
    const model = this.default ?? this.#others[0]?.id;
    return model === undefined ? null : { model, chats: this.default !== null };
  }

  /** Whether lines that ask for this model (null: any) can go there. */
  has(model: string | null): boolean {
    if (model === null) return this.default !== null;
    return this.#find(model) !== undefined || this.#isConfigured(model);
  }

  /** Whether it is, or was, to be had here: then it may be again. */
  hasHad(model: string): boolean {
    return this.#before.has(this.#nameOf(model)) || this.#isConfigured(model);
  }

  /** Tokens of prompt and answer together; null: the server does not say. */
  contextTokensOf(model: string): number | null {
    return this.#find(model)?.contextTokens ?? null;
  }

  #find(model: string): ServedModel | undefined {
    const name = this.#nameOf(model);
    const isIt = ({ id }: ServedModel) => this.#nameOf(id) === name;
    return this.#served.find(isIt) ?? this.#others.find(isIt);
  }

  #isConfigured(model: string): boolean {
    return this.#configured !== null && this.#nameOf(this.#configured) === this.#nameOf(model);
  }

  #nameOf(model: string): string {
    return this.#server === 'ollama' ? withTag(model) : model;
  }
}
