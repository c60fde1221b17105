import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { EPSILON, type KernelCase, kernelCase } from './case.ts';
import { indices, length, seed, values } from './values.ts';

/** Two products and a sum, each rounded. */
const ROUNDED = { absolute: 16 * EPSILON, relative: 4 * EPSILON };

const dequantizeCodes = kernelCase(
  fc.record({
    rows: fc.constantFrom(0, 1, 2, 3, 6),
    d: length,
    bits: fc.constantFrom(0, 1, 2, 3, 4, 8),
    group: fc.constantFrom(1, 5, 64),
    kinds: fc.constantFrom(1, 2, 3),
    from: seed,
  }),
  ({ rows, d, bits, group, kinds, from }) => {
    const perWord = bits === 0 ? 1 : 24 / bits;
    const count = rows * Math.ceil(d / perWord);
    // A word of 24 bits is any of the whole numbers below 2^24; its last codes may belong to nobody.
    const words = Float32Array.from(indices(from, count, 2 ** 24));
    return {
      inputs: [
        bits === 0 ? values(from, rows * d) : words,
        bits === 0 ? null : values(from + 1, 2 ** bits),
        values(from + 2, rows * Math.ceil(d / group)),
        values(from + 3, kinds * d),
        values(from + 4, kinds * d),
      ],
      outputs: [{ numel: rows * d }],
      run: (kernels, [out], [word, level, groupScale, scale, shift]) =>
        kernels.dequantizeCodes(
          ...([out, word, level, groupScale, scale, shift] as const),
          ...([rows, d, bits || 24, group, kinds] as const),
        ),
      tolerance: ROUNDED,
    };
  },
);

/** Numbers out of packed codes. */
export const codeCases = { dequantizeCodes } satisfies Partial<Record<keyof Kernels, KernelCase>>;
