// Cuts off clients that send next to nothing: each holds one of the few places for uploads. A client that is slow
// but honest sends far more than this, and one that we keep waiting is not to blame.

import type { IncomingMessage } from 'node:http';
import { RagmillError } from '../errors.ts';
import type { Clock } from '../time.ts';

/** Averaged over a window. */
const MIN_BYTES_PER_SECOND = 1024;
const WINDOW_SECONDS = 60;
const LOOK_EVERY_SECONDS = 5;

/** Aborts with `upload_stalled` when the body comes too slowly; watches until it is disposed of. */
export function watchPace(request: IncomingMessage, clock: Clock): Disposable & { signal: AbortSignal } {
  const stalled = new AbortController();
  const over = new AbortController();
  void watch(request, clock, over.signal).then((isStalled) => {
    if (isStalled) stalled.abort(stall());
  });
  return { signal: stalled.signal, [Symbol.dispose]: () => over.abort() };
}

/** Resolves with whether the client stalled. */
async function watch(request: IncomingMessage, clock: Clock, over: AbortSignal): Promise<boolean> {
  const { socket } = request;
  let bytesAtStart = socket.bytesRead;
  let waitedSeconds = 0;
  for (;;) {
    try {
      await clock.sleep(LOOK_EVERY_SECONDS * 1000, over);
    } catch {
      return false;
    }
    // The whole body is here, or more than we take has come, and no more can come: it is us who are slow.
    const isWaiting = !request.complete && request.readableLength < request.readableHighWaterMark;
    const bytes = socket.bytesRead - bytesAtStart;
    waitedSeconds = isWaiting ? waitedSeconds + LOOK_EVERY_SECONDS : 0;
    if (waitedSeconds >= WINDOW_SECONDS && bytes < MIN_BYTES_PER_SECOND * WINDOW_SECONDS) return true;
    if (waitedSeconds === 0 || waitedSeconds >= WINDOW_SECONDS) {
      bytesAtStart = socket.bytesRead;
      waitedSeconds = 0;
    }
  }
}

function stall(): RagmillError {
  return new RagmillError(
    'upload_stalled',
    `Less than ${MIN_BYTES_PER_SECOND} bytes a second came for ${WINDOW_SECONDS} seconds; nothing was stored. Send it again.`,
  );
}
