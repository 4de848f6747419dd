// The KV cache of a simulated model server: a tree over the blocks of prompts, in which prompts share what they begin with.
// What running requests use stays; of the rest the least recently used goes when room is needed, leaves first.
// Sources: L. Zheng et al., "SGLang: Efficient Execution of Structured Language Model Programs", arXiv 2312.07104
// (RadixAttention); W. Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention",
// arXiv 2309.06180.
//
// (C1) Blocks held, and those that running requests have besides, are never more than the capacity.
// (C2) A block that is not in use has no child that is: the oldest unused block is a leaf.

interface Block {
  readonly text: string;
  readonly parent: Block | null;
  readonly children: Map<string, Block>;
  users: number;
}

/** What a running request has of the cache. */
export interface Held {
  /** From the root on. */
  readonly path: Block[];
  /** Blocks of its own that nobody can share: what it has not prefilled yet, its end and its answer. */
  ownBlocks: number;
}

export class PrefixCache {
  readonly #capacity: number;
  readonly #roots = new Map<string, Block>();
  /** Not in use, the least recently used first. */
  readonly #unused = new Set<Block>();
  #blocks = 0;
  #own = 0;

  /** `capacity`: in blocks. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /**
   * Room for a request of these blocks and so many more; what is there already is shared. null: there is no room as long
   * as the others run. A request that needs more than all the room there is gets it when it is alone.
   */
  hold(blocks: readonly string[], more: number): Held | null {
    const path = this.#find(blocks);
    const ownBlocks = blocks.length - path.length + more;
    const unusedOfPath = path.filter(({ users }) => users === 0).length;
    const free = this.#capacity - this.#blocks - this.#own + this.#unused.size - unusedOfPath;
    const isAlone = this.#own === 0 && this.#unused.size === this.#blocks;
    if (ownBlocks > free && !isAlone) return null;
    for (const block of path) this.#use(block);
    this.#own += ownBlocks;
    this.#evict();
    return { path, ownBlocks };
  }

  /** These blocks of the request are prefilled: from now on others share them. What another has brought meanwhile stays. */
  share(held: Held, blocks: readonly string[]): void {
    for (const text of blocks.slice(held.path.length)) {
      const parent = held.path.at(-1) ?? null;
      const children = parent?.children ?? this.#roots;
      let block = children.get(text);
      if (block === undefined) {
        block = { text, parent, children: new Map(), users: 0 };
        children.set(text, block);
        this.#blocks += 1;
      }
      this.#use(block);
      held.path.push(block);
      held.ownBlocks -= 1;
      this.#own -= 1;
    }
  }

  /** The request has ended. */
  release({ path, ownBlocks }: Held): void {
    this.#own -= ownBlocks;
    for (const block of path.toReversed()) {
      block.users -= 1;
      if (block.users === 0) this.#unused.add(block);
    }
  }

  #find(blocks: readonly string[]): Block[] {
    const path: Block[] = [];
    let children = this.#roots;
    for (const text of blocks) {
      const block = children.get(text);
      if (block === undefined) break;
      path.push(block);
      children = block.children;
    }
    return path;
  }

  #use(block: Block): void {
    block.users += 1;
    this.#unused.delete(block);
  }

  #evict(): void {
    for (const block of this.#unused) {
      if (this.#blocks + this.#own <= this.#capacity) return;
      this.#unused.delete(block);
      this.#blocks -= 1;
      (block.parent?.children ?? this.#roots).delete(block.text);
    }
  }
}
