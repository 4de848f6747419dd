// Members in no order. Adding one and taking one out costs the same however many there are, and who was taken out is let go
// of at once: a Map or Set that much goes through keeps what it had alive in tables that only a full collection frees.

export interface BagMember {
  /** Index in the bag, which alone writes it; -1: in none. */
  place: number;
}

/** A member is in one bag at a time. */
export class Bag<Member extends BagMember> {
  readonly #members: Member[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** As they are now: what is added or taken out meanwhile changes nothing of it. */
  get members(): Member[] {
    return [...this.#members];
  }

  [Symbol.iterator](): ArrayIterator<Member> {
    return this.#members.values();
  }

  add(member: Member): void {
    member.place = this.#members.push(member) - 1;
  }

  /** Answers whether it was there. The last one takes its place. */
  remove(member: Member): boolean {
    if (member.place < 0) return false;
    const last = this.#members.pop();
    if (last !== undefined && last !== member) {
      last.place = member.place;
      this.#members[member.place] = last;
    }
    member.place = -1;
    return true;
  }
}
