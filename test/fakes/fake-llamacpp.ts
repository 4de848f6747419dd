// The routes of llama.cpp's server. While it loads its model, it lists it already and refuses all else.

import { actualLoad, type KindRoutes, type RouteAnswer, type RouteRequest } from './kind-routes.ts';

const LOADING = { error: { code: 503, message: 'Loading model', type: 'unavailable_error' } };
const NO_SLOTS = { error: { code: 501, message: 'No slots endpoint', type: 'not_supported_error' } };

export class FakeLlamacpp implements KindRoutes {
  slots = 4;
  contextTokens = 8_192;
  isLoading = false;
  showsSlots = true;
  /** `old`: the states of its slots are numbers. */
  version: 'old' | 'new' = 'new';

  listEntry(id: string): object {
    const meta = this.isLoading ? null : { n_ctx_train: 131_072, n_params: 8e9 };
    return { id, object: 'model', owned_by: 'llamacpp', meta };
  }

  answer({ path, chats }: RouteRequest): RouteAnswer | undefined {
    if (path !== '/props' && path !== '/slots') return undefined;
    if (this.isLoading) return { status: 503, body: LOADING };
    if (path === '/props') {
      return {
        body: {
          default_generation_settings: { n_ctx: this.contextTokens, params: {} },
          total_slots: this.slots,
          model_path: '/models/fake.gguf',
        },
      };
    }
    if (!this.showsSlots) return { status: 501, body: NO_SLOTS };
    const { running } = actualLoad(chats);
    return { body: Array.from({ length: this.slots }, (_, id) => this.#slot(id, id < running)) };
  }

  #slot(id: number, isBusy: boolean): object {
    return this.version === 'new' ? { id, is_processing: isBusy } : { id, state: isBusy ? 1 : 0 };
  }
}
