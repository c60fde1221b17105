import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BytePairs } from '../../../src/model/byte-pairs.ts';
import { StringTable } from '../../../src/model/string-table.ts';

const fail = (message: string): never => {
  throw new Error(message);
};
const of = (tokens: string[], merges: string[], wholeWords = false) =>
  new BytePairs(StringTable.of(tokens), StringTable.of(merges), { wholeWords, fail });

/** The definition: the pair of lowest rank, leftmost, over and over. */
function naive(word: string, tokens: readonly string[], merges: readonly string[]): string[] {
  let parts = Array.from(word);
  for (;;) {
    const ranks = parts.slice(1).map((right, i) => merges.lastIndexOf(`${parts[i]} ${right}`));
    const known = ranks.filter((rank) => rank >= 0);
    if (known.length === 0) return parts.filter((part) => tokens.includes(part));
    const at = ranks.indexOf(Math.min(...known));
    parts = [...parts.slice(0, at), parts[at] + parts[at + 1], ...parts.slice(at + 2)];
  }
}

describe('BytePairs', () => {
  it('equals the definition, also through spellings that are no token', () => {
    const spelling = fc.string({
      unit: fc.constantFrom('a', 'b', 'c', '😀'),
      minLength: 1,
      maxLength: 3,
    });
    const merge = fc.tuple(spelling, spelling).map(([left, right]) => `${left} ${right}`);
    fc.assert(
      fc.property(
        fc.array(spelling, { maxLength: 12 }),
        fc.array(merge, { maxLength: 20 }),
        fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', '😀'), maxLength: 12 }),
        (tokens, merges, word) => {
          const pairs = of(tokens, merges);
          assert.deepEqual(pairs.encode(word), naive(word, tokens, merges));
          assert.deepEqual(pairs.encode(word), pairs.encode(word));
        },
      ),
    );
  });

  it('keeps words that are tokens whole where that is asked for, and the first of equal tokens', () => {
    assert.deepEqual(of(['a', 'b', 'ab'], [], true).encode('ab'), ['ab']);
    assert.deepEqual(of(['a', 'b', 'ab'], []).encode('ab'), ['a', 'b']);
    assert.equal(of(['x', 'a', 'a'], []).ids.get('a'), 1);
  });

  it('refuses merges that are not two tokens', () => {
    for (const merge of ['ab', ' b', 'a ', 'a b c', '']) {
      assert.throws(() => of(['a'], [merge]), /merge 0 is .*, not two tokens/);
    }
  });
});
