// How many requests an endpoint may have in flight, found by trying: it doubles while that pays, then goes up by small steps
// while they pay and down while that costs nothing, and shrinks when the server says that it is full.
//
// What pays is measured in tokens per second: the speed of one answer times the window. The speed is the sum of tokens
// over the sum of durations, so that long and short answers weigh by what they cost; a server that lets requests wait
// shows as slower answers, and the product stays where it was.
//
// (W1) Only answers count that were asked for since the window last changed, and only while the window was full.
// (W2) The overloads of one moment are one: what was sent before a cut does not cut again.

/** The window of a server that says nothing of its capacity. */
const UNKNOWN_START = 4;
/** However much a server can run: the rest is for the tries to find. */
const START_MAX = 32;
/** A bound against a runaway: beyond what servers run at once. */
const SIZE_MAX = 4096;
/** Fewest answers that tell a speed: few while it doubles, which a rough figure can decide; more for small steps. */
const ANSWERS_MIN = { doubling: 4, steady: 16 } as const;
/** Doubling goes on while it brings this much. */
const DOUBLING_GAIN = 1.2;
/** A doubling that brings less than this is measured once more, without the answers of the change. */
const PLAIN_GAIN = 1.7;
/** A step up stays if it brings this part of what it would bring a server with room to spare. */
const GROWTH_YIELD = 0.3;
/** A step down stays if it costs at most this part of what it would cost a server without anything to spare. */
const SHRINK_COST = 0.1;
/** The first step, and the largest after steps that stayed: each is twice the one before. */
const STEP_SHARE = 1 / 8;
const STEP_SHARE_MAX = 1 / 2;
/** Measurements between two steps that are tried, at most: more and more as they fail. */
const PATIENCE_MAX = 32;
/** What is left of the window after an overload. */
const CUT = 0.7;
/** A window this full is limited by its size, and not by what there is to do. */
const FULL = 0.75;

export interface WindowStart {
  /** A number from the settings: the window stays there. null: it is found. */
  readonly fixed: number | null;
}

/** What the server says. */
export interface WindowHints {
  /** Requests that it can run at once; null: unknown. */
  readonly maxRunning: number | null;
  /** true: it runs one request at a time unless told otherwise. */
  readonly isSerial: boolean;
}

interface Measured {
  readonly size: number;
  readonly tokensPerMs: number;
}

/** What is tried next, in turn as long as it fails. */
type Step = 'up' | 'down';

/** One answered request, as the window sees it. */
export interface WindowSample {
  /** `epoch` at the time it was sent. */
  readonly epoch: number;
  readonly tokens: number;
  readonly durationMs: number;
  /** In flight when it ended, itself included. */
  readonly inFlight: number;
}

export class AdaptiveWindow {
  readonly #fixed: number | null;
  #size: number;
  #ceiling = SIZE_MAX;
  #epoch = 0;
  #phase: 'doubling' | 'steady' = 'doubling';
  /** What the present size has to prove itself against; null: it is not on trial. */
  #before: Measured | null = null;
  #nextStep: Step = 'up';
  #stepShare = STEP_SHARE;
  #failedSteps = 0;
  #held = 0;
  /** The answers of the first round after a step are those of the change, not of the new size. */
  #isSettling = false;
  #isSecondLook = false;
  #tokens = 0;
  #busyMs = 0;
  #answers = 0;
  #hasHints = false;

  constructor({ fixed }: WindowStart) {
    this.#fixed = fixed;
    this.#size = fixed ?? UNKNOWN_START;
  }

  get size(): number {
    return this.#size;
  }

  /** Changes with every change of size. */
  get epoch(): number {
    return this.#epoch;
  }

  /** What the server has said; the first time it decides where the window starts. */
  hint({ maxRunning, isSerial }: WindowHints): void {
    if (this.#fixed !== null) return;
    this.#ceiling = Math.min(SIZE_MAX, Math.max(1, maxRunning ?? SIZE_MAX));
    if (!this.#hasHints) {
      this.#hasHints = true;
      this.#become(isSerial ? 1 : Math.min(START_MAX, maxRunning ?? UNKNOWN_START));
    } else if (this.#size > this.#ceiling) this.#become(this.#ceiling);
  }

  answered({ epoch, tokens, durationMs, inFlight }: WindowSample): void {
    if (this.#fixed !== null || epoch !== this.#epoch || inFlight < this.#size * FULL) return;
    this.#tokens += tokens;
    this.#busyMs += durationMs;
    this.#answers += 1;
    // While it doubles half a round will do: the other half was sent before the change.
    const round = this.#phase === 'doubling' && !this.#isSecondLook ? this.#size / 2 : this.#size;
    if (this.#answers < Math.max(ANSWERS_MIN[this.#phase], round)) return;
    const now = { size: this.#size, tokensPerMs: (this.#size * this.#tokens) / Math.max(this.#busyMs, 1e-3) };
    if (this.#isSettling) this.#begin(false);
    else if (this.#phase === 'doubling') this.#double(now);
    else if (this.#before !== null) this.#judge(this.#before, now);
    else this.#hold(now);
  }

  /** The server was full when this came, sent in that epoch. */
  overloaded(epoch: number): void {
    if (this.#fixed !== null || epoch !== this.#epoch) return;
    this.#settle(Math.floor(this.#size * CUT));
  }

  /** So many requests wait in the server's own queue, where nobody can reorder or move them. */
  queueing(waiting: number): void {
    const allowed = Math.max(4, Math.ceil(this.#size / 10));
    if (this.#fixed === null && waiting > allowed) this.#settle(this.#size - (waiting - allowed));
  }

  /** After an outage: half of what was good before, and from there on as at the start. */
  reopen(): void {
    if (this.#fixed !== null) return;
    const good = this.#before?.size ?? this.#size;
    this.#phase = 'doubling';
    this.#before = null;
    this.#become(Math.floor(good / 2));
  }

  #double(now: Measured): void {
    const before = this.#before;
    const gain = before === null ? PLAIN_GAIN : now.tokensPerMs / before.tokensPerMs;
    // What is sent at once after a step finds the server's queue empty, and looks faster than it will be.
    if (gain < PLAIN_GAIN && !this.#isSecondLook) this.#lookAgain();
    else if (before !== null && gain < DOUBLING_GAIN) this.#settle(before.size);
    else if (now.size >= this.#ceiling) this.#settle(now.size);
    else {
      this.#before = now;
      this.#become(now.size * 2);
    }
  }

  /** A step was made: it stays if it has paid, or, downwards, if it has cost next to nothing. */
  #judge(before: Measured, now: Measured): void {
    const change = now.size / before.size - 1;
    const wanted = before.tokensPerMs * (1 + change * (change > 0 ? GROWTH_YIELD : SHRINK_COST));
    const stays = now.tokensPerMs >= wanted;
    this.#failedSteps = stays ? 0 : this.#failedSteps + 1;
    this.#stepShare = stays ? Math.min(STEP_SHARE_MAX, this.#stepShare * 2) : STEP_SHARE;
    if (!stays) this.#nextStep = this.#nextStep === 'up' ? 'down' : 'up';
    this.#held = 0;
    this.#before = null;
    this.#become(stays ? now.size : before.size);
  }

  /** After enough of the same, a step. */
  #hold(now: Measured): void {
    this.#held += 1;
    const step = Math.max(1, Math.floor(now.size * this.#stepShare));
    const target = this.#within(now.size + (this.#nextStep === 'up' ? step : -step));
    if (target === now.size) this.#nextStep = this.#nextStep === 'up' ? 'down' : 'up';
    if (target === now.size || this.#held < Math.min(PATIENCE_MAX, 2 ** this.#failedSteps)) {
      this.#begin(false);
    } else {
      this.#before = now;
      this.#become(target);
    }
  }

  /** Holds this size for a while. */
  #settle(size: number): void {
    this.#phase = 'steady';
    this.#before = null;
    this.#held = 0;
    this.#become(size);
  }

  #lookAgain(): void {
    this.#isSecondLook = true;
    this.#begin(false);
    this.#epoch += 1;
  }

  #become(size: number): void {
    this.#isSecondLook = false;
    this.#size = this.#within(size);
    this.#epoch += 1;
    this.#begin(this.#phase === 'steady');
  }

  /** Begins to measure anew. */
  #begin(isSettling: boolean): void {
    // What was sent before does not count any more.
    if (this.#isSettling) this.#epoch += 1;
    this.#isSettling = isSettling;
    this.#tokens = 0;
    this.#busyMs = 0;
    this.#answers = 0;
  }

  #within(size: number): number {
    return Math.max(1, Math.min(size, this.#ceiling));
  }
}
