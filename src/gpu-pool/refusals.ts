// Lines that an endpoint refuses with a 400 or the like: usually the line is at fault, sometimes the endpoint. The two
// are told apart by what the endpoint does with the next lines.
//
// (R1) A refusal is final once the endpoint has answered another line since. Until that is known its line waits.
// (R2) When it cannot become known — nothing else is in flight, the endpoint goes, it refuses one after the other — the
//      line is to be tried elsewhere.

export type RefusalVerdict = 'final' | 'elsewhere';

/** Refusals without an answer in between, after which it may be the endpoint. */
const STREAK_LIMIT = 5;
const STREAK_LIMIT_MAX = 1_024;
/** Lines refused here and answered elsewhere, without an answer from here in between, that convict the endpoint. */
const CONTRADICTIONS_MAX = 2;

export class Refusals {
  #pending: ((verdict: RefusalVerdict) => void)[] = [];
  #streak = 0;
  #limit = STREAK_LIMIT;
  #contradictions = 0;

  /** A line was refused. */
  refused(): Promise<RefusalVerdict> {
    this.#streak += 1;
    return new Promise((resolve) => this.#pending.push(resolve));
  }

  /** Another line was answered: it was not the endpoint. */
  answered(): void {
    this.#streak = 0;
    this.#limit = STREAK_LIMIT;
    this.#contradictions = 0;
    this.#settle('final');
  }

  /** Nothing more is to be learned here now. */
  giveUp(): void {
    this.#settle('elsewhere');
  }

  /** It refuses one line after the other: somebody has to look into it before it gets more. */
  get isDoubtful(): boolean {
    return this.#streak >= this.#limit;
  }

  /** The endpoint could answer the pool's own completion: the lines are bad, or of a kind that it cannot take. */
  trusted(): void {
    this.#streak = 0;
    this.#limit = Math.min(STREAK_LIMIT_MAX, this.#limit * 2);
  }

  /** A line refused here was answered elsewhere. Answers whether that is too often. */
  contradicted(): boolean {
    this.#contradictions += 1;
    return this.#contradictions >= CONTRADICTIONS_MAX;
  }

  #settle(verdict: RefusalVerdict): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const resolve of pending) resolve(verdict);
  }
}
