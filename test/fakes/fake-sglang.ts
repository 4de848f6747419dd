// SGLang's routes. With `leaks` it is one of the builds that go on generating when the client hangs up, until they
// are told to abort; `ignoresAborts` makes it one of those that say yes to that and go on all the same.

import type { FakeRequest } from './fake-model-server.ts';
import {
  actualLoad,
  type FakeLoad,
  type KindRoutes,
  type RouteAnswer,
  type RouteRequest,
} from './kind-routes.ts';

export interface FakeRank {
  readonly maxRunning: number;
  readonly kvTokens: number;
  /** Missing: the first rank has what really runs, the others nothing. */
  readonly load?: FakeLoad;
}

export class FakeSglang implements KindRoutes {
  /** `old`: the routes and fields before they were renamed. */
  version: 'old' | 'new' = 'new';
  contextTokens: number | null = 32_768;
  /** As asked for at the start; what runs can be less. */
  askedMaxRunning: number | null = null;
  ranks: readonly FakeRank[] = [{ maxRunning: 64, kvTokens: 400_000 }];
  leaks = false;
  ignoresAborts = false;
  /** The ids that it was told to abort. */
  readonly abortedIds: string[] = [];

  listEntry(id: string): object {
    return { id, object: 'model', owned_by: 'sglang', root: id, max_model_len: this.contextTokens };
  }

  answer(request: RouteRequest): RouteAnswer | undefined {
    const path = request.path.split('?')[0];
    if (request.method === 'POST') return path === '/abort_request' ? this.#abort(request) : undefined;
    const isNew = this.version === 'new';
    if (path === '/get_model_info' || (path === '/model_info' && isNew)) {
      return { body: { model_path: '/models/fake', is_generation: true } };
    }
    if (path === '/get_server_info' || (path === '/server_info' && isNew)) return { body: this.#info() };
    if (path === '/v1/loads' && isNew) return { body: { loads: this.#loads(request.chats).map(newLoad) } };
    if (path === '/get_load' && !isNew) return { body: this.#loads(request.chats).map(oldLoad) };
    return undefined;
  }

  /** Ids of generations that go on although nobody listens any more. */
  ghosts(chats: readonly FakeRequest[]): unknown[] {
    if (!this.leaks) return [];
    return chats
      .filter(({ state, body }) => state === 'aborted' && (this.ignoresAborts || !this.#isAborted(body.rid)))
      .map(({ body }) => body.rid);
  }

  /** SGLang takes an id for all ids that begin with it. */
  #isAborted(id: unknown): boolean {
    return this.abortedIds.some((aborted) => String(id).startsWith(aborted));
  }

  #abort({ body, chats }: RouteRequest): RouteAnswer {
    const { rid } = body as { rid: string };
    this.abortedIds.push(rid);
    if (!this.ignoresAborts) {
      for (const chat of chats) if (chat.state === 'running' && this.#isAborted(chat.body.rid)) chat.abort();
    }
    return { body: '' };
  }

  #info(): object {
    const [rank] = this.ranks;
    const { kvTokens = 0 } = rank ?? {};
    const server = { context_length: this.contextTokens, max_running_requests: this.askedMaxRunning };
    if (this.version === 'old') {
      return { ...server, max_total_num_tokens: kvTokens, internal_states: this.ranks.map(() => ({})) };
    }
    const states = this.ranks.map((each) => ({
      memory_usage: { token_capacity: each.kvTokens, kvcache: 0.2 },
      effective_max_running_requests_per_dp: each.maxRunning,
    }));
    return { ...server, api_key: 'secret', max_total_num_tokens: kvTokens, internal_states: states };
  }

  #loads(chats: readonly FakeRequest[]): (FakeRank & { load: FakeLoad })[] {
    const actual = actualLoad(chats);
    const first = { ...actual, running: actual.running + this.ghosts(chats).length };
    return this.ranks.map((rank, index) => ({
      ...rank,
      load: rank.load ?? (index === 0 ? first : { running: 0, waiting: 0 }),
    }));
  }
}

function newLoad({ load, maxRunning, kvTokens }: FakeRank & { load: FakeLoad }, dp_rank: number): object {
  return {
    dp_rank,
    num_running_reqs: load.running,
    num_waiting_reqs: load.waiting,
    max_running_requests: maxRunning,
    max_total_num_tokens: kvTokens,
    token_usage: 0.25,
  };
}

function oldLoad({ load }: FakeRank & { load: FakeLoad }, dp_rank: number): object {
  const { running, waiting } = load;
  return { dp_rank, num_reqs: running + waiting, num_waiting_reqs: waiting, num_tokens: 100 };
}
