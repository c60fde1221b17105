import fc from 'fast-check';
import { random } from '../../../src/tensor/random.ts';

/** Around vector widths (4), unrolled loops (8, 16) and tiles (32, 64); primes; nothing at all. */
export const length: fc.Arbitrary<number> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19) },
  { weight: 2, arbitrary: fc.constantFrom(23, 31, 32, 33, 37, 63, 64, 65, 71) },
  { weight: 1, arbitrary: fc.constantFrom(0, 127, 128, 131, 1023, 1025) },
);

/** Lengths where several multiply. */
export const side: fc.Arbitrary<number> = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 17, 33);

/** Axes of rank-4 operands. */
export const axis: fc.Arbitrary<number> = fc.constantFrom(1, 2, 3, 4, 5, 8, 9);

/** Where values come from; shrinking it means nothing. */
export const seed: fc.Arbitrary<number> = fc.noShrink(fc.integer({ min: 0, max: 2 ** 31 - 1 }));

/** `n` numbers uniform in [low, high), with `special` ones strewn in. */
export function values(
  from: number,
  n: number,
  low = -1,
  high = 1,
  special: readonly number[] = [],
): Float32Array {
  const { next } = random(from);
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const pick = next();
    out[i] =
      special.length && pick < 0.125
        ? special[Math.floor(pick * 8 * special.length)]
        : low + (high - low) * next();
  }
  return out;
}

/** `n` integers of [0, limit), both ends among them when there is room. */
export function indices(from: number, n: number, limit: number): Int32Array {
  const { next } = random(from);
  const out = Int32Array.from({ length: n }, () => Math.floor(next() * limit));
  if (n > 0) out[0] = limit - 1;
  if (n > 1) out[n - 1] = 0;
  return out;
}
