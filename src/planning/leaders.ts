// Who is the first to read a prefix on an endpoint. Servers that share what they have read only when it is read would read
// it once more for each line that comes meanwhile; so the others of its group wait until the leader has begun to answer.
// Source: SGLang, "in-batch prefix caching" (sgl-project/sglang, pull request 2442).

/** Prefixes that are taken for read: about as many as a cache holds beside what it is at. */
const READ_MAX = 32;

export class Leaders {
  readonly #beingRead = new Set<string>();
  /** The latest last. */
  readonly #read = new Set<string>();

  /** Whether a line that begins so would read what its leader is reading now. */
  isBeingRead(root: string): boolean {
    return this.#beingRead.has(root);
  }

  /** A line that begins so goes to the endpoint. Answers whether it leads. */
  send(root: string): boolean {
    if (this.#beingRead.has(root)) return false;
    const isKnown = this.#read.delete(root);
    if (isKnown) this.#read.add(root);
    else this.#beingRead.add(root);
    return !isKnown;
  }

  /** The leader has begun to answer, or has come to nothing: the others need not wait any more. */
  release(root: string, isRead: boolean): void {
    this.#beingRead.delete(root);
    if (!isRead) return;
    this.#read.add(root);
    if (this.#read.size <= READ_MAX) return;
    for (const oldest of this.#read) {
      this.#read.delete(oldest);
      return;
    }
  }
}
