import fc from 'fast-check';

/** Lengths at which kernels go wrong: 1, primes, and one below, at and past vector widths. */
export const size: fc.Arbitrary<number> = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 11, 16, 17);

/** Small ones, where several multiply. */
export const smallSize: fc.Arbitrary<number> = fc.constantFrom(1, 2, 3, 4, 5, 7);

/** Seeds for values: shrinking them means nothing, so they do not. */
export const seed: fc.Arbitrary<number> = fc.noShrink(fc.integer({ min: 0, max: 2 ** 31 - 1 }));
