const encoder = new TextEncoder();
// Byte order marks are part of a token, not of an encoding.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Many strings as UTF-8 in one array: the thread that holds SmolLM2's vocabulary (49,152 tokens, as many
 * merges) has 4 MB less than with arrays and maps of strings.
 */
export class StringTable implements Iterable<string> {
  private readonly bytes: Uint8Array;
  /** Where each string ends. */
  private readonly ends: Uint32Array;

  /** @param ends of each string, in bytes from the first's beginning, rising */
  constructor(bytes: Uint8Array, ends: Uint32Array) {
    this.bytes = bytes;
    this.ends = ends;
  }

  /** A table of these strings; lone surrogates become U+FFFD. */
  static of(strings: readonly string[]): StringTable {
    const builder = new StringTableBuilder(strings.length);
    for (const one of strings) builder.add(encoder.encode(one));
    return builder.build();
  }

  /** Strings. */
  get length(): number {
    return this.ends.length;
  }

  /** A string; undefined outside the table. */
  at(index: number): string | undefined {
    const bytes = this.bytesAt(index);
    return bytes && decoder.decode(bytes);
  }

  /** The UTF-8 of a string; undefined outside the table. A view: it must not be written to. */
  bytesAt(index: number): Uint8Array | undefined {
    if (!Number.isInteger(index) || index < 0 || index >= this.ends.length) return undefined;
    return this.bytes.subarray(index === 0 ? 0 : this.ends[index - 1], this.ends[index]);
  }

  /** As of an array. */
  slice(from: number, to: number): string[] {
    const end = Math.min(to, this.length);
    return Array.from({ length: Math.max(0, end - from) }, (_, i) => this.at(from + i) as string);
  }

  /** All strings in turn, each decoded as it is asked for. */
  *[Symbol.iterator](): Iterator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i) as string;
  }
}

/** Fills a table one string after the other. */
export class StringTableBuilder {
  private readonly ends: Uint32Array;
  private bytes: Uint8Array;
  private count = 0;
  private end = 0;

  /** @param length strings that will be added */
  constructor(length: number) {
    this.ends = new Uint32Array(length);
    this.bytes = new Uint8Array(8 * length);
  }

  /** Adds a string's UTF-8, which is copied. */
  add(utf8: Uint8Array): void {
    if (this.end + utf8.length > this.bytes.length) {
      const larger = new Uint8Array(2 * (this.end + utf8.length));
      larger.set(this.bytes.subarray(0, this.end));
      this.bytes = larger;
    }
    this.bytes.set(utf8, this.end);
    this.end += utf8.length;
    this.ends[this.count++] = this.end;
  }

  /** The table of what was added. */
  build(): StringTable {
    return new StringTable(this.bytes.slice(0, this.end), this.ends.slice(0, this.count));
  }
}

/** Open addressing: at most this share of the places is taken. */
const LOAD = 0.5;

/** FNV-1a (Fowler, Noll, Vo), 32 bits. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash ^ (hash >>> 15);
}

/** The place of each string of a table: what a map would do, in four bytes a place. */
export class StringIndex {
  private readonly table: StringTable;
  /** Places by hash: an index and 1; 0 where there is none. */
  private readonly places: Int32Array;
  private key = new Uint8Array(64);

  constructor(table: StringTable) {
    this.table = table;
    this.places = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(2, table.length / LOAD))));
    for (let i = 0; i < table.length; i++) {
      const at = this.find(table.bytesAt(i) as Uint8Array);
      // The first of equal ones counts.
      if (this.places[at] === 0) this.places[at] = i + 1;
    }
  }

  /** Where a string stands first in the table; undefined where it does not. */
  get(text: string): number | undefined {
    if (this.key.length < 3 * text.length) this.key = new Uint8Array(6 * text.length);
    const { written } = encoder.encodeInto(text, this.key);
    const place = this.places[this.find(this.key.subarray(0, written))];
    return place === 0 ? undefined : place - 1;
  }

  /** Where a key lies in `places`, or would lie. */
  private find(key: Uint8Array): number {
    const mask = this.places.length - 1;
    let at = hashOf(key) & mask;
    while (this.places[at] !== 0 && !this.equals(this.places[at] - 1, key)) at = (at + 1) & mask;
    return at;
  }

  private equals(index: number, key: Uint8Array): boolean {
    const bytes = this.table.bytesAt(index) as Uint8Array;
    if (bytes.length !== key.length) return false;
    for (let i = 0; i < key.length; i++) if (bytes[i] !== key[i]) return false;
    return true;
  }
}
