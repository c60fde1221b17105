const EMPTY = 0xffffffff;

/** Room at the start; doubled whenever half of it is taken. */
const FIRST_CAPACITY = 64;

/**
 * Whole numbers 0..2^32 - 2 to whole numbers 0..2^32 - 1, by open addressing (Knuth, TAOCP vol. 3, 6.4,
 * algorithms L and R). A `Map` under steady setting and deleting makes a new table every few hundred of
 * them; as the allocator's books that was two fifths of all garbage of a step.
 */
export class AddressMap {
  /** How many there are. */
  size = 0;
  private keys = new Uint32Array(FIRST_CAPACITY).fill(EMPTY);
  private values = new Uint32Array(FIRST_CAPACITY);

  get(key: number): number | undefined {
    const at = this.find(key);
    return this.keys[at] === EMPTY ? undefined : this.values[at];
  }

  set(key: number, value: number): void {
    let at = this.find(key);
    if (this.keys[at] === EMPTY) {
      if (++this.size * 2 > this.keys.length) {
        this.double();
        at = this.find(key);
      }
      this.keys[at] = key;
    }
    this.values[at] = value;
  }

  delete(key: number): void {
    const { keys, values } = this;
    const mask = keys.length - 1;
    let hole = this.find(key);
    if (keys[hole] === EMPTY) return;
    this.size--;
    // Whatever would no longer be found across the hole moves into it, and leaves the next one.
    for (let at = (hole + 1) & mask; keys[at] !== EMPTY; at = (at + 1) & mask) {
      const home = this.home(keys[at]);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      keys[hole] = keys[at];
      values[hole] = values[at];
      hole = at;
    }
    keys[hole] = EMPTY;
  }

  /** All pairs, in no order. */
  *[Symbol.iterator](): Generator<[key: number, value: number]> {
    for (const [at, key] of this.keys.entries()) if (key !== EMPTY) yield [key, this.values[at]];
  }

  /** Where a key stands, or the empty place where it would. */
  private find(key: number): number {
    const mask = this.keys.length - 1;
    let at = this.home(key);
    while (this.keys[at] !== key && this.keys[at] !== EMPTY) at = (at + 1) & mask;
    return at;
  }

  /** Fibonacci hashing, by 2^32 over the golden ratio: addresses share their low bits. */
  private home(key: number): number {
    return Math.imul(key, 0x9e3779b1) >>> (32 - (31 - Math.clz32(this.keys.length)));
  }

  private double(): void {
    const { keys, values } = this;
    this.keys = new Uint32Array(keys.length * 2).fill(EMPTY);
    this.values = new Uint32Array(keys.length * 2);
    for (const [at, key] of keys.entries()) {
      if (key === EMPTY) continue;
      const to = this.find(key);
      this.keys[to] = key;
      this.values[to] = values[at];
    }
  }
}
