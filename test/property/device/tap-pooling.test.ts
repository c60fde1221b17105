import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { poolTaps, TAP_KINDS, type TapKind } from '../../../src/device/index.ts';
import { rmsNormRows } from '../../../src/model/index.ts';
import { random } from '../../../src/tensor/index.ts';
import { assertClose } from '../../support/close.ts';
import { seed, smallSize } from '../../support/sizes.ts';

/** A mean of up to 11 f32 values of order one, summed in f32 there and in f64 here. */
const SUMMING = 1e-6;

const kinds: fc.Arbitrary<TapKind[]> = fc.shuffledSubarray([...TAP_KINDS], { minLength: 1 });
/** Tokens of a template's words, also more than a sample has. */
const tails = fc.integer({ min: 1, max: 12 });
const lengths = fc.array(fc.constantFrom(1, 2, 3, 5, 7, 11), { minLength: 1, maxLength: 6 });

/** Hidden states `[T, D]` with an attention sink: the first token of each sequence is huge. */
function hiddenStates(lengths: readonly number[], width: number, seed: number): Float32Array {
  const rng = random(seed);
  return Float32Array.from(
    lengths.flatMap((length) =>
      Array.from({ length: length * width }, (_, i) => rng.normal() * (i < width ? 1000 : 1)),
    ),
  );
}

test('last, first, mean and template are over the tokens as they are after the norm, kinds in order', () => {
  fc.assert(
    fc.property(lengths, smallSize, kinds, tails, seed, (lengths, width, kinds, tail, seed) => {
      const hidden = hiddenStates(lengths, width, seed);
      const normed = rmsNormRows(hidden.slice(), width);
      const pooled = poolTaps(hidden, lengths, width, kinds, tail);
      const token = (t: number) => [...normed.subarray(t * width, (t + 1) * width)];
      let start = 0;
      const expected = lengths.flatMap((length) => {
        const tokens = Array.from({ length }, (_, t) => token(start + t));
        start += length;
        const meanOf = (some: number[][]) =>
          some[0].map((_, i) => some.reduce((sum, row) => sum + row[i], 0) / some.length);
        const rows = {
          ...{ first: tokens[0], last: tokens[length - 1] },
          ...{ mean: meanOf(tokens), template: meanOf(tokens.slice(-tail)) },
        };
        return kinds.flatMap((kind) => rows[kind]);
      });
      assertClose(pooled, expected, SUMMING, 'pooled');
    }),
  );
});

test('a sample pools alike alone and among others, to the bit', () => {
  fc.assert(
    fc.property(lengths, smallSize, seed, (lengths, width, seed) => {
      const hidden = hiddenStates(lengths, width, seed);
      const together = poolTaps(hidden.slice(), lengths, width, TAP_KINDS);
      const block = TAP_KINDS.length * width;
      let start = 0;
      lengths.forEach((length, b) => {
        const own = hidden.slice(start * width, (start + length) * width);
        const alone = poolTaps(own, [length], width, TAP_KINDS);
        assert.deepEqual(alone, together.subarray(b * block, (b + 1) * block));
        start += length;
      });
    }),
  );
});
