// How much is going on, for whoever wants to wait until nothing is.

export class RunningCount {
  #running = 0;
  #onIdle: (() => void) | null = null;

  begin(): void {
    this.#running += 1;
  }

  end(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#onIdle?.();
  }

  /** Resolves when nothing runs; asked once. */
  async idle(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }
}
