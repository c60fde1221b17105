import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { EPSILON, type KernelCase, kernelCase } from './case.ts';
import { length, seed, side, values } from './values.ts';

/** Inner lengths, past the depth that one packed block holds (384). */
const inner = fc.oneof(
  { weight: 8, arbitrary: length },
  { weight: 1, arbitrary: fc.constantFrom(383, 384, 385, 769) },
);

/** Rows past one packed block (256), columns past tiles of 8, or both small. */
const rowsAndColumns = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(side, side) },
  { weight: 1, arbitrary: fc.constantFrom([257, 3], [261, 9], [2, 300], [1, 131], [131, 1]) },
);

const matmul = kernelCase(
  fc.record({
    size: rowsAndColumns,
    k: inner,
    transA: fc.nat(1),
    transB: fc.nat(1),
    batch: fc.constantFrom(1, 1, 2, 3),
    repeats: fc.tuple(fc.boolean(), fc.boolean()),
    from: seed,
  }),
  ({ size: [m, n], k, transA, transB, batch, repeats, from }) => {
    const strideA = repeats[0] ? 0 : m * k;
    const strideB = repeats[1] ? 0 : k * n;
    return {
      inputs: [
        values(from, repeats[0] ? m * k : m * k * batch),
        values(from + 1, repeats[1] ? k * n : k * n * batch),
      ],
      outputs: [{ numel: batch * m * n }],
      run: (kernels, [out], [a, b]) =>
        kernels.matmul(out, a, b, batch, m, n, k, transA, transB, strideA, strideB),
      // k roundings of a running sum of products of at most 1, which grows like sqrt(k / 9);
      // rounding errors add up like sqrt(k), with a factor 8 for the worst of many elements.
      tolerance: { absolute: EPSILON * (8 * k ** 0.5 * Math.max(1, (k / 9) ** 0.5)), relative: 0 },
    };
  },
);

export const matmulCases = { matmul } satisfies Partial<Record<keyof Kernels, KernelCase>>;
