import { AddressMap } from './address-map.ts';

/** Blocks begin at, and are rounded up to, multiples of this many bytes: a cache line. */
export const ALIGNMENT = 64;

/** Classes of block sizes: exact below 8 units, then 8 to every doubling. */
const CLASSES = 8 + 24 * 8;

/** The class of a block of `units` alignment units; sizes in a class differ by an eighth at most. */
function classOf(units: number): number {
  if (units < 8) return units;
  const power = 31 - Math.clz32(units);
  return 8 + (power - 3) * 8 + ((units >>> (power - 3)) & 7);
}

/** Alignment units that a piece of `bytes` takes; one at least. */
export function unitsOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / ALIGNMENT));
}

/** Makes room: asks for memory up to `end` (bytes) and returns where it really ends now. */
export type Grow = (end: number) => number;

/**
 * Hands out pieces of an address range: segregated free lists (as TLSF, Masmano et al. 2004) with
 * immediate coalescing. What it knows lies outside the memory it manages, so that a kernel gone
 * wrong cannot break it. Allocating and freeing take constant time but for a search in one list.
 */
export class Allocator {
  private end: number;
  private readonly grow: Grow;
  /** Free blocks: bytes by start, start by end, and the starts of each size class. */
  private readonly sizes = new AddressMap();
  private readonly starts = new AddressMap();
  private readonly classes: number[][] = [];
  private readonly occupied = new Uint32Array(Math.ceil(CLASSES / 32));
  private readonly live = new AddressMap();

  /** @param base first address, a multiple of ALIGNMENT; @param end first address behind */
  constructor(base: number, end: number, grow: Grow) {
    this.end = base;
    this.grow = grow;
    for (let i = 0; i < CLASSES; i++) this.classes.push([]);
    this.extend(end);
  }

  /**
   * An address of at least `bytes` bytes (0 gives an address of its own, too), or what `grow`
   * throws when there is no more.
   */
  alloc(bytes: number): number {
    const fitting = this.fit(bytes);
    if (fitting !== undefined) return fitting;
    const size = unitsOf(bytes) * ALIGNMENT;
    // A free block at the very end is the first part of what is missing.
    const last = this.starts.get(this.end) ?? this.end;
    this.extend(this.grow(last + size));
    return this.take(last, size);
  }

  /** As `alloc`, without asking for more memory: undefined where no free block is large enough. */
  fit(bytes: number): number | undefined {
    const size = unitsOf(bytes) * ALIGNMENT;
    const start = this.find(size);
    return start === undefined ? undefined : this.take(start, size);
  }

  /** Gives a piece back; false when none begins there. */
  free(start: number): boolean {
    let size = this.live.get(start);
    if (size === undefined) return false;
    this.live.delete(start);
    const after = this.sizes.get(start + size);
    if (after !== undefined) {
      this.remove(start + size, after);
      size += after;
    }
    const before = this.starts.get(start);
    if (before !== undefined) {
      this.remove(before, start - before);
      size += start - before;
      start = before;
    }
    this.insert(start, size);
    return true;
  }

  /** Free blocks as [start, bytes], by address: for tests and reports. */
  freeBlocks(): [start: number, bytes: number][] {
    return [...this.sizes].sort((a, b) => a[0] - b[0]);
  }

  /** Cuts a piece off the front of the free block there. */
  private take(start: number, size: number): number {
    const available = this.sizes.get(start) as number;
    this.remove(start, available);
    if (available > size) this.insert(start + size, available - size);
    this.live.set(start, size);
    return start;
  }

  /** Best known block of at least `size` bytes. */
  private find(size: number): number | undefined {
    const units = size / ALIGNMENT;
    const own = classOf(units);
    for (const start of this.classes[own]) {
      if ((this.sizes.get(start) as number) >= size) return start;
    }
    // Every block of a larger class is large enough: the first non-empty one.
    for (let word = (own + 1) >> 5; word < this.occupied.length; word++) {
      let bits = this.occupied[word];
      if (word === (own + 1) >> 5) bits &= -1 << ((own + 1) & 31);
      if (bits) {
        const lowest = 31 - Math.clz32(bits & -bits);
        return this.classes[word * 32 + lowest].at(-1);
      }
    }
    return undefined;
  }

  private extend(end: number): void {
    const aligned = end - (end % ALIGNMENT);
    if (aligned <= this.end) return;
    let start = this.end;
    const before = this.starts.get(start);
    if (before !== undefined) {
      this.remove(before, start - before);
      start = before;
    }
    this.insert(start, aligned - start);
    this.end = aligned;
  }

  private insert(start: number, size: number): void {
    this.sizes.set(start, size);
    this.starts.set(start + size, start);
    const index = classOf(size / ALIGNMENT);
    this.classes[index].push(start);
    this.occupied[index >> 5] |= 1 << (index & 31);
  }

  private remove(start: number, size: number): void {
    this.sizes.delete(start);
    this.starts.delete(start + size);
    const index = classOf(size / ALIGNMENT);
    const list = this.classes[index];
    list[list.indexOf(start)] = list[list.length - 1];
    list.pop();
    if (list.length === 0) this.occupied[index >> 5] &= ~(1 << (index & 31));
  }
}
