// The prefix cache of a model server, as a radix tree of whole passages that forgets what was used longest ago: a passage
// is found only under the same passages before it.

interface Node {
  readonly children: Map<string, Node>;
  readonly parent: Node | null;
  readonly passage: string;
}

export class PrefixCache {
  readonly #capacity: number;
  readonly #root: Node = { children: new Map(), parent: null, passage: '' };
  /** Longest unused first. A node is used whenever one below it is, and after it, so the first has none below it. */
  readonly #nodes = new Set<Node>();

  /** `capacity`: passages. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** How many passages of the prompt are to be read; they are in the cache after that. */
  read(prompt: readonly string[]): number {
    const path: Node[] = [];
    let node = this.#root;
    let missed = 0;
    for (const passage of prompt) {
      let child = node.children.get(passage);
      if (!child) {
        missed += 1;
        child = { children: new Map(), parent: node, passage };
        node.children.set(passage, child);
      }
      path.push(child);
      node = child;
    }
    for (const used of path.toReversed()) {
      this.#nodes.delete(used);
      this.#nodes.add(used);
    }
    for (const oldest of this.#nodes) {
      if (this.#nodes.size <= this.#capacity) break;
      this.#nodes.delete(oldest);
      oldest.parent?.children.delete(oldest.passage);
    }
    return missed;
  }
}
