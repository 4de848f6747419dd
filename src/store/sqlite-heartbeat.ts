// Leases are renewed by the main thread, as long as it gets to it. When it is busy for longer than a lease lasts,
// this goes on for it, from the writing thread, and gives up on a main thread that has not answered for a minute.

/** A third of what is left of a lease between two renewals by the main thread. */
const BEAT_INTERVAL_MS = 5_000;
const SILENCE_MAX_MS = 60_000;

export class SqliteHeartbeat {
  readonly #timer: NodeJS.Timeout;
  readonly #renew: (nowMs: number, leaseMs: number) => void;
  /** What the main thread said last, and when that was by the clock of this thread. */
  #heard: { nowMs: number; leaseMs: number; atMs: number } | null = null;

  constructor(renew: (nowMs: number, leaseMs: number) => void) {
    this.#renew = renew;
    this.#timer = setInterval(() => this.#beat(), BEAT_INTERVAL_MS);
  }

  /** The main thread renews its leases itself, at this time of its clock. */
  hear(nowMs: number, leaseMs: number): void {
    this.#heard = { nowMs, leaseMs, atMs: performance.now() };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    if (this.#heard === null) return;
    const silentMs = performance.now() - this.#heard.atMs;
    if (silentMs < BEAT_INTERVAL_MS || silentMs > SILENCE_MAX_MS) return;
    try {
      this.#renew(this.#heard.nowMs + silentMs, this.#heard.leaseMs);
    } catch {
      // A full or busy disk: the next beat tries again, and a lease that runs out is claimed anew.
    }
  }
}
