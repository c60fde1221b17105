import type { Kernels } from '../../../backend.ts';
import { type Floats, type Grid, quotient, type Thread } from '../device-function.ts';
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

/**
 * The same with threads in three directions: columns, rows, and tiles of batches. gpu.js computes four
 * columns at once on webasm, and there reads and indexes A once for all of them, because only x differs
 * among them; B it gathers number by number. With indices that run along, this is 1.6 to 1.8 times
 * as fast as `product`, which divides.
 */
function productByRows(this: Grid<Sizes | 'tileLength' | 'batches'>, a: Floats, b: Floats): number {
  const tile = Math.floor((this.thread.z + 0.5) / this.constants.batches);
  const batch = this.thread.z - tile * this.constants.batches;
  const first = tile * this.constants.tileLength;
  let aAt =
    batch * this.constants.aBatch +
    this.thread.y * this.constants.aRow +
    first * this.constants.aStep;
  let bAt =
    batch * this.constants.bBatch +
    this.thread.x * this.constants.bCol +
    first * this.constants.bStep;
  const rest = this.constants.k - first;
  let total = 0.0;
  for (let p = 0; p < this.constants.tileLength; p++) {
    if (p < rest) total += a[aAt] * b[bAt];
    aAt += this.constants.aStep;
    bAt += this.constants.bStep;
  }
  return total;
}

/**
 * The product, one thread an output element and tile of the inner axis.
 * @param byRows see `productByRows`
 */
export function matmulKernels(launch: LaunchFunction, byRows: boolean) {
  return {
    matmul(out, a, b, batch, m, n, k, transA, transB, strideA, strideB) {
      const tiles = Math.max(1, Math.ceil(k / INNER_TILE));
      const area = batch * m * n;
      const sizes = {
        ...{ m, n, k, tileLength: Math.ceil(k / tiles) },
        ...{ aRow: transA ? 1 : k, aStep: transA ? m : 1, aBatch: strideA },
        ...{ bCol: transB ? k : 1, bStep: transB ? 1 : n, bBatch: strideB },
      };
      const grid = [n, m, batch * tiles];
      const parts = byRows
        ? launch(productByRows, tiles * area, [a, b], { ...sizes, batches: batch }, [], grid)
        : launch(product, tiles * area, [a, b], { ...sizes, area });
      assign(launch, out, sumMiddle(launch, parts, 1, tiles, area));
    },
  } satisfies Partial<Kernels>;
}
