// f32 matmul in the three layouts that forward and backward passes need, on a model's shapes.
import { matmul } from '../src/tensor/index.ts';
import type { BenchCase } from './harness.ts';
import { benchShapes } from './shapes.ts';
import { onBackends } from './tensor-case.ts';

/** A stored `[K,M]` (t) or `[M,K]` (n), then B `[N,K]` (t) or `[K,N]` (n). */
const LAYOUTS = {
  nn: { transA: false, transB: false },
  nt: { transA: false, transB: true },
  tn: { transA: true, transB: false },
} as const;

/** Every layout and shape. */
export function* cases(): Generator<BenchCase> {
  for (const [layout, options] of Object.entries(LAYOUTS)) {
    for (const { label, m, k, n, heavy } of benchShapes()) {
      const { transA, transB } = options;
      yield* onBackends({
        family: `matmul/${layout}`,
        shape: `${label}/${m}x${k}x${n}`,
        ops: 2 * m * n * k,
        bytes: 4 * (m * k + n * k + m * n),
        // Forward passes are nt; the other two are those of a gradient.
        heavy: heavy || n * k > 2 ** 22 || (layout !== 'nt' && label !== 'square'),
        operands: (make) => [make(transA ? [k, m] : [m, k], 1), make(transB ? [n, k] : [k, n], 2)],
        run: ([a, b]) => matmul(a, b, options),
        *expected([a, b]) {
          // Two rows whole: a tile at the edge and one inside.
          for (const i of new Set([0, m - 1])) {
            for (let j = 0; j < n; j++) {
              let sum = 0;
              for (let l = 0; l < k; l++) {
                sum += a[transA ? l * m + i : i * k + l] * b[transB ? j * k + l : l * n + j];
              }
              yield [i * n + j, sum];
            }
          }
        },
      });
    }
  }
}
