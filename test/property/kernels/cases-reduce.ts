import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { EPSILON, EXACT, type KernelCase, kernelCase, type Tolerance } from './case.ts';
import { length, seed, side, values } from './values.ts';

/** Longest chain of f32 additions in any backend's sum: 1024 in a chunk or 64 down a column. */
const SUM_CHAIN = 64;

function reduction(
  name: 'sum' | 'max' | 'argmax',
  special: readonly number[],
  tolerance: (n: number) => Tolerance,
): KernelCase {
  return kernelCase(
    fc.record({
      outer: side,
      n: length.filter((n) => n > 0),
      inner: fc.oneof(fc.constant(1), side),
      ties: fc.boolean(),
      from: seed,
    }),
    ({ outer: wanted, n, inner, ties, from }) => {
      const outer = n * inner > 2000 ? 1 : wanted;
      const x = values(from, outer * n * inner, -4, 4, special);
      return {
        inputs: [ties ? x.map(Math.round) : x],
        outputs: [{ numel: outer * inner, dtype: name === 'argmax' ? 'i32' : 'f32' }],
        run: (kernels, [out], [input]) => kernels[name](out, input, outer, n, inner),
        tolerance: tolerance(n),
      };
    },
  );
}

export const reduceCases = {
  sum: reduction('sum', [0, 100, -100], (n) => ({
    absolute: 100 * EPSILON * Math.min(n, SUM_CHAIN) * Math.sqrt(n),
    relative: 2 * EPSILON,
  })),
  sumSquares: kernelCase(
    fc.record({ n: length.filter((n) => n > 0), from: seed }),
    ({ n, from }) => ({
      inputs: [values(from, n, -4, 4, [0, 100, -100])],
      outputs: [{ numel: 1 }],
      run: (kernels, [out], [x]) => kernels.sumSquares(out, x, n),
      // Nothing cancels: each addition rounds what is there so far.
      tolerance: { absolute: 0, relative: 2 * EPSILON * (2 + SUM_CHAIN) },
    }),
  ),
  max: reduction('max', [0, 100, -Infinity, Number.NaN], () => EXACT),
  argmax: reduction('argmax', [0, 4, -Infinity], () => EXACT),
} satisfies Partial<Record<keyof Kernels, KernelCase>>;
