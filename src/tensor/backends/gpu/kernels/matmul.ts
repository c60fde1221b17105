import type { Kernels } from '../../../backend.ts';
import { type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';
import { sumMiddle } from './reduce.ts';

/**
 * Terms that one thread sums: a GPU may give up on a kernel that takes long and leave zeros, and
 * many short sums round less than one long one. The partial sums are added by another launch.
 */
export const INNER_TILE = 1024;

type Sizes = 'm' | 'n' | 'k' | 'aRow' | 'aStep' | 'aBatch' | 'bCol' | 'bStep' | 'bBatch';

/** Element (batch, row, column) of the part of A B whose inner index starts at tile * tileLength. */
function product(this: Thread<Sizes | 'tileLength' | 'area'>, a: Floats, b: Floats): number {
  const tile = quotient(this.thread.x, this.constants.area);
  const at = this.thread.x - tile * this.constants.area;
  const line = quotient(at, this.constants.n);
  const col = at - line * this.constants.n;
  const batch = quotient(line, this.constants.m);
  const row = line - batch * this.constants.m;
  const first = tile * this.constants.tileLength;
  const aStart =
    batch * this.constants.aBatch + row * this.constants.aRow + first * this.constants.aStep;
  const bStart =
    batch * this.constants.bBatch + col * this.constants.bCol + first * this.constants.bStep;
  const rest = this.constants.k - first;
  let total = 0.0;
  for (let p = 0; p < this.constants.tileLength; p++) {
    if (p < rest) {
      total += a[aStart + p * this.constants.aStep] * b[bStart + p * this.constants.bStep];
    }
  }
  return total;
}

/** The product, one thread an output element and tile of the inner axis. */
export function matmulKernels(launch: LaunchFunction) {
  return {
    matmul(out, a, b, batch, m, n, k, transA, transB, strideA, strideB) {
      const tiles = Math.max(1, Math.ceil(k / INNER_TILE));
      const area = batch * m * n;
      const parts = launch(product, tiles * area, [a, b], {
        ...{ m, n, k, area, tileLength: Math.ceil(k / tiles) },
        ...{ aRow: transA ? 1 : k, aStep: transA ? m : 1, aBatch: strideA },
        ...{ bCol: transB ? k : 1, bStep: transB ? 1 : n, bBatch: strideB },
      });
      assign(launch, out, sumMiddle(launch, parts, 1, tiles, area));
    },
  } satisfies Partial<Kernels>;
}
