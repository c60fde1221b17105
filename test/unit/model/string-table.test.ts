import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { StringIndex, StringTable } from '../../../src/model/string-table.ts';

/** Short ones, so that some are equal, and text that takes one to four bytes a character. */
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 2 }),
  fc.string({ unit: fc.constantFrom('a', 'ß', '☕', '😀', '\ufeff'), maxLength: 40 }),
);

describe('StringTable', () => {
  it('gives back what was put into it, and undefined outside', () => {
    fc.assert(
      fc.property(fc.array(text), fc.nat(5), fc.nat(9), (strings, from, to) => {
        const table = StringTable.of(strings);
        assert.equal(table.length, strings.length);
        assert.deepEqual([...table], strings);
        assert.deepEqual(table.slice(from, to), strings.slice(from, to));
        for (const outside of [-1, 0.5, strings.length, Number.NaN]) {
          assert.equal(table.at(outside), undefined);
        }
      }),
    );
  });
});

describe('StringIndex', () => {
  it('finds where a string stands first, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 50 }), text, (strings, other) => {
        const index = new StringIndex(StringTable.of(strings));
        for (const one of [...strings, other]) {
          const at = strings.indexOf(one);
          assert.equal(index.get(one), at < 0 ? undefined : at);
        }
      }),
    );
  });
});
