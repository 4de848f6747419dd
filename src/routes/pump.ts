// Moves what a source has to say into a response, at the pace of the reader, with a sign of life when it is silent.

import type { Clock } from '../time.ts';
import type { LiveResponse } from './live-response.ts';

export interface KeepAlive {
  readonly bytes: Buffer;
  /** Sent when nothing else was for so long, in milliseconds. */
  readonly afterMs: number;
  readonly clock: Clock;
}

/** Answers what the source returned. Whatever happens, the source is closed. */
export async function pump<End>(
  response: LiveResponse,
  source: AsyncGenerator<Buffer, End>,
  keepAlive: KeepAlive | null,
): Promise<End> {
  try {
    for (;;) {
      const next = source.next();
      if (keepAlive !== null) await keepAliveUntil(next, response, keepAlive);
      const { done, value } = await next;
      if (done) return value;
      await response.write(value);
    }
  } finally {
    // A source that waits for a change wakes up all the same: a write fails only when the reader is gone.
    await source.return(undefined as never);
  }
}

async function keepAliveUntil(
  next: Promise<unknown>,
  response: LiveResponse,
  { bytes, afterMs, clock }: KeepAlive,
): Promise<void> {
  const isThere = next.then(
    () => true,
    () => true,
  );
  for (;;) {
    const settled = new AbortController();
    const isSilent = clock.sleep(afterMs, settled.signal).then(
      () => false,
      () => true,
    );
    const isDone = await Promise.race([isThere, isSilent]);
    settled.abort();
    if (isDone) return;
    await response.write(bytes);
  }
}
