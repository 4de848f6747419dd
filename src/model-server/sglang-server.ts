// SGLang. Its data-parallel ranks are schedulers of their own, each with its own queue and KV cache: what the
// server has is the sum over them. Newer versions have shorter names for the same routes and log a warning for each
// use of the old ones, therefore the new ones are tried first.

import type { ServerLoad } from '../domain/server-kind.ts';
import type { ListedModel } from './model-list.ts';
import { type Ask, jsonOf } from './plain-answer.ts';
import {
  reportedContext,
  reportedCount,
  reportedKvTokens,
  reportedLimit,
  sumOfReported,
} from './reported-numbers.ts';
import { type Recognition, recognition, type ServerAdapter, type ServerDetails } from './server-adapter.ts';
import { isRecord } from './server-words.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What the ranks say of themselves, summed. */
interface Ranks {
  readonly load: ServerLoad | null;
  readonly maxRunning: number | null;
  readonly kvCapacityTokens: number | null;
}

const NO_RANKS: Ranks = { load: null, maxRunning: null, kvCapacityTokens: null };

export const sglangServer: ServerAdapter = { recognise, details };

async function recognise(ask: Ask): Promise<Recognition> {
  const newer = recognition(await ask('/model_info'), ['model_path']);
  return newer === 'no' ? recognition(await ask('/get_model_info'), ['model_path']) : newer;
}

async function details(listed: readonly ListedModel[], ask: Ask): Promise<ServerDetails> {
  const [info, ranks] = await Promise.all([serverInfo(ask), askRanks(ask)]);
  const context = reportedContext(fieldOf(info, 'context_length'));
  const states = recordsIn(info.internal_states);
  return {
    models: listed.map(({ id, contextTokens }) => ({ id, contextTokens: contextTokens ?? context })),
    // What a rank really runs can be less than what was asked for at its start.
    maxRunning:
      sumOfReported(states.map((state) => reportedLimit(state.effective_max_running_requests_per_dp))) ??
      ranks.maxRunning ??
      reportedLimit(fieldOf(info, 'max_running_requests')),
    kvCapacityTokens:
      sumOfReported(states.map(kvTokensOfState)) ??
      ranks.kvCapacityTokens ??
      kvTokensOfFirstRank(info, states.length),
    load: ranks.load,
  };
}

async function serverInfo(ask: Ask): Promise<Fields> {
  const newer = jsonOf(await ask('/server_info'));
  const info = newer === undefined ? jsonOf(await ask('/get_server_info')) : newer;
  return isRecord(info) ? info : {};
}

/** The arguments of the server stand at the top in some versions, one level deeper in others. */
function fieldOf(info: Fields, name: string): unknown {
  const places = [info, info.server_args, info.scheduler_info];
  return places.map((place) => (isRecord(place) ? place[name] : null)).find((value) => value != null);
}

function kvTokensOfState({ memory_usage: memory }: Fields): number | null {
  return isRecord(memory) ? reportedKvTokens(memory.token_capacity) : null;
}

/** The number at the top is that of the first rank only; all ranks are alike. */
function kvTokensOfFirstRank(info: Fields, rankCount: number): number | null {
  const tokens = reportedKvTokens(fieldOf(info, 'max_total_num_tokens'));
  return tokens === null ? null : reportedKvTokens(tokens * Math.max(1, rankCount));
}

async function askRanks(ask: Ask): Promise<Ranks> {
  const newer = jsonOf(await ask('/v1/loads?include=core'));
  if (isRecord(newer)) return ranksOf(recordsIn(newer.loads));
  // Before there was that route; here the waiting ones are among all.
  const ranks = recordsIn(jsonOf(await ask('/get_load')));
  const all = sumOfReported(ranks.map((rank) => reportedCount(rank.num_reqs)));
  const waiting = sumOfReported(ranks.map((rank) => reportedCount(rank.num_waiting_reqs)));
  if (all === null || waiting === null) return NO_RANKS;
  return { ...NO_RANKS, load: { running: Math.max(0, all - waiting), waiting } };
}

function ranksOf(ranks: readonly Fields[]): Ranks {
  const running = sumOfReported(ranks.map((rank) => reportedCount(rank.num_running_reqs)));
  const waiting = sumOfReported(ranks.map((rank) => reportedCount(rank.num_waiting_reqs)));
  return {
    load: running === null || waiting === null ? null : { running, waiting },
    maxRunning: sumOfReported(ranks.map((rank) => reportedLimit(rank.max_running_requests))),
    kvCapacityTokens: sumOfReported(ranks.map((rank) => reportedKvTokens(rank.max_total_num_tokens))),
  };
}

function recordsIn(list: unknown): readonly Fields[] {
  return Array.isArray(list) ? list.filter(isRecord) : [];
}
