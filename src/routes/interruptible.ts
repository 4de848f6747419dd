// Reading that can be ended from outside.

/**
 * The items of the source, until the signal aborts: then it throws the signal's reason at once, even while it waits
 * for an item that may never come. A stream is not destroyed by that, so that its client can still be answered.
 */
export async function* interruptible<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const items = source[Symbol.asyncIterator]();
  let interrupt = () => {};
  const onAbort = () => interrupt();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        interrupt = () => reject(signal.reason);
        if (signal.aborted) interrupt();
        else items.next().then(resolve, reject);
      });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: behind an item that never comes it would wait for ever.
    items.return?.().catch(() => {});
  }
}
