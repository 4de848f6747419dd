// Passages retrieved for questions whose topics follow Zipf's law, and what they cost a row of model servers: the workload
// and the measure of the planner.

import { Chance } from '../chaos/chance.ts';
import { PrefixCache } from './prefix-cache.ts';

const TOPICS = 400;
const TOPIC_EXPONENT = 0.9;
const TOPIC_PASSAGES = 30;
const PASSAGE_EXPONENT = 0.8;
const PASSAGES = 5;

export const ENDPOINTS = 8;
/** Passages that the cache of an endpoint holds. */
const CACHE_PASSAGES = 150;
export const PASSAGE_COST = 400;
export const LINE_COST = 60;

/** So many lists of passages, in ranking order; the same seed, the same lists. */
export function zipfSets(count: number, seed: number): string[][] {
  const chance = new Chance(seed);
  const topics = zipfDistribution(TOPICS, TOPIC_EXPONENT);
  const ranks = zipfDistribution(TOPIC_PASSAGES, PASSAGE_EXPONENT);
  return Array.from({ length: count }, () => {
    const topic = draw(topics, chance);
    const drawn = new Set<number>();
    while (drawn.size < PASSAGES) drawn.add(draw(ranks, chance));
    return [...drawn].map((rank) => `${topic * TOPIC_PASSAGES + rank}`);
  });
}

export class ServerRow {
  readonly #caches: readonly PrefixCache[];
  /** By endpoint. */
  readonly busy: number[];

  constructor(endpoints = ENDPOINTS) {
    this.#caches = Array.from({ length: endpoints }, () => new PrefixCache(CACHE_PASSAGES));
    this.busy = this.#caches.map(() => 0);
  }

  /** What the prompt costs this endpoint after all that it has read. */
  read(endpoint: number, prompt: readonly string[]): number {
    const missed = this.#caches[endpoint]?.read(prompt) ?? 0;
    const cost = PASSAGE_COST * missed + LINE_COST;
    this.busy[endpoint] = (this.busy[endpoint] ?? 0) + cost;
    return cost;
  }

  get work(): number {
    return this.busy.reduce((sum, busy) => sum + busy, 0);
  }

  get makespan(): number {
    return Math.max(...this.busy);
  }
}

/** Every endpoint takes the next line in turn. */
export function roundRobin(sets: readonly (readonly string[])[]): ServerRow {
  const row = new ServerRow();
  for (const [index, set] of sets.entries()) row.read(index % ENDPOINTS, set);
  return row;
}

/** Cumulative, by rank. */
function zipfDistribution(count: number, exponent: number): Float64Array {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) {
    sum += (rank + 1) ** -exponent;
    sums[rank] = sum;
  }
  return sums.map((value) => value / sum);
}

function draw(distribution: Float64Array, chance: Chance): number {
  const point = chance.next();
  return distribution.findIndex((value) => point < value);
}
