import { StringIndex, type StringTable } from './string-table.ts';

/** A pair's two tokens as one number: ids are below 2^26. */
const PAIR = 2 ** 26;

/** Words whose tokens are remembered; texts repeat few of them often. */
const REMEMBERED_WORDS = 4096;

/** Open addressing: at most this share of the places is taken. */
const LOAD = 0.5;

/**
 * Byte-pair encoding (Sennrich et al. 2016) over numbers: of the pairs that stand side by side in a
 * word the one that was merged first in training is merged first, the leftmost of several. Pairs lie
 * in typed arrays, because there are as many of them as tokens.
 */
export class BytePairs {
  /** By token: its id. */
  readonly ids: StringIndex;
  private readonly tokens: StringTable;
  private readonly wholeWords: boolean;
  /** Pairs by their hash; -1 where there is none. */
  private readonly pairs: Float64Array;
  /** Of each pair: its rank, and what it becomes. */
  private readonly ranks: Int32Array;
  private readonly merged: Int32Array;
  /** Spelling of what is merged on the way to a token and is none. */
  private readonly between: Map<string, number>;
  private readonly remembered = new Map<string, readonly string[]>();

  /**
   * @param tokens by id; the first of equal ones keeps its id
   * @param merges `a b`, in the order of training
   * @param options `wholeWords`: a word that is a token stays whole
   * @throws what `fail` throws, for a merge that is not two tokens
   */
  constructor(
    tokens: StringTable,
    merges: StringTable,
    options: { readonly wholeWords: boolean; readonly fail: (message: string) => never },
  ) {
    this.tokens = tokens;
    this.wholeWords = options.wholeWords;
    this.ids = new StringIndex(tokens);
    this.between = new Map();
    const size = 2 ** Math.ceil(Math.log2(Math.max(2, merges.length / LOAD)));
    this.pairs = new Float64Array(size).fill(-1);
    this.ranks = new Int32Array(size);
    this.merged = new Int32Array(size);
    for (let rank = 0; rank < merges.length; rank++) {
      const merge = merges.at(rank) as string;
      const space = merge.indexOf(' ');
      if (space <= 0 || space === merge.length - 1 || merge.includes(' ', space + 1)) {
        options.fail(
          `merge ${rank} is ${JSON.stringify(merge)}, not two tokens with a space between`,
        );
      }
      const left = merge.slice(0, space);
      const right = merge.slice(space + 1);
      const at = this.place(this.symbol(left) * PAIR + this.symbol(right));
      // The later of equal merges counts, as in the reference.
      this.pairs[at] = this.symbol(left) * PAIR + this.symbol(right);
      this.ranks[at] = rank;
      this.merged[at] = this.symbol(left + right);
    }
  }

  /** The tokens of a word; what no token spells is left out. */
  encode(word: string): readonly string[] {
    if (this.wholeWords && this.ids.get(word) !== undefined) return [word];
    const known = this.remembered.get(word);
    if (known) return known;
    const tokens = this.merge(word);
    if (this.remembered.size >= REMEMBERED_WORDS) this.remembered.clear();
    this.remembered.set(word, tokens);
    return tokens;
  }

  private merge(word: string): string[] {
    const symbols = Array.from(word, (character) => this.idOf(character));
    for (;;) {
      let best = -1;
      let from = -1;
      for (let i = 0; i + 1 < symbols.length; i++) {
        if (symbols[i] < 0 || symbols[i + 1] < 0) continue;
        const pair = symbols[i] * PAIR + symbols[i + 1];
        const at = this.place(pair);
        if (this.pairs[at] !== pair || (best >= 0 && this.ranks[at] >= this.ranks[best])) continue;
        [best, from] = [at, i];
      }
      if (best < 0) break;
      symbols.splice(from, 2, this.merged[best]);
    }
    return symbols
      .map((id) => this.tokens.at(id))
      .filter((token): token is string => token !== undefined);
  }

  private idOf(spelling: string): number {
    return this.ids.get(spelling) ?? this.between.get(spelling) ?? -1;
  }

  /** The number of a spelling; one behind the tokens where it is none. */
  private symbol(spelling: string): number {
    let id = this.idOf(spelling);
    if (id < 0) {
      id = this.tokens.length + this.between.size;
      this.between.set(spelling, id);
    }
    return id;
  }

  /** Where a pair lies, or would lie. */
  private place(pair: number): number {
    const mask = this.pairs.length - 1;
    // Both halves spread over all bits (Knuth's multiplicative hashing).
    const mixed = Math.imul(pair / PAIR, 0x9e3779b1) ^ Math.imul(pair % PAIR, 0x85ebca6b);
    let at = (mixed ^ (mixed >>> 15)) & mask;
    while (this.pairs[at] >= 0 && this.pairs[at] !== pair) at = (at + 1) & mask;
    return at;
  }
}
