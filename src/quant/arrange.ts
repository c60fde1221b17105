// Weights to the arrays that kernels read: what all formats share, and 8 bits.
import { FormatError, ShapeError } from '../tensor/errors.ts';
import { offsetQc8w } from './kernels/gemm.ts';
import { type PackedArrays, type PackedShape, packedSizes } from './packed-linear.ts';
import { SUPER_BLOCK } from './qb4w-scales.ts';
import { BLOCK, MAX_INNER, PANEL, roundUp, type WeightFormat, ZERO_POINT } from './types.ts';

/** Largest magnitude of a `qc8w` weight: 7 bits, symmetric. */
const QC8W_MAX = 63;

/** @throws ShapeError unless [n,k] is a matrix that the kernels' integers can hold */
export function checkSize(
  operation: string,
  length: number | undefined,
  n: number,
  k: number,
): void {
  if (!Number.isInteger(n) || !Number.isInteger(k) || n < 1 || k < 1) {
    throw new ShapeError(`${operation}: [${n},${k}] is no matrix`);
  }
  if (k > MAX_INNER) {
    throw new ShapeError(`${operation}: inner length ${k} is above ${MAX_INNER}`);
  }
  if (length !== undefined && length !== n * k) {
    throw new ShapeError(`${operation}: ${length} values do not fill [${n},${k}]`);
  }
}

/** @throws ShapeError unless a group is one that the format has: a multiple of 32, for 4 bits to 128 */
export function checkGroup(operation: string, format: WeightFormat, groupSize: number): void {
  if (!Number.isInteger(groupSize) || groupSize < BLOCK || groupSize % BLOCK !== 0) {
    throw new ShapeError(`${operation}: group size ${groupSize} is no multiple of ${BLOCK}`);
  }
  if (format === 'qb4w' && SUPER_BLOCK % groupSize !== 0) {
    throw new ShapeError(`${operation}: group size ${groupSize} is not 32, 64 or ${SUPER_BLOCK}`);
  }
}

/** How a matrix lies once packed; one scale an output is one group over all of the padded inputs. */
export function shapeOf(
  format: WeightFormat,
  n: number,
  k: number,
  groupSize: number,
): PackedShape {
  const kp = roundUp(k, BLOCK);
  return { format, n, k, kp, groupSize: format === 'qc8w' && groupSize >= k ? kp : groupSize };
}

/** Zeroed arrays for a matrix; columns past N have scale 0. */
export function allocate<Format extends WeightFormat>(
  format: Format,
  n: number,
  k: number,
  groupSize: number,
): PackedArrays<Format> {
  const shape = shapeOf(format, n, k, groupSize);
  const sizes = packedSizes(shape);
  const packed = new Uint8Array(sizes.packed);
  if (format === 'qc8w') packed.fill(ZERO_POINT);
  const scales = new (format === 'qc8w' ? Float32Array : Uint8Array)(sizes.scales);
  return { ...shape, packed, scales } as PackedArrays<Format>;
}

/** Largest magnitude of values[start..end); NaN when one of them is not finite. */
function absmaxOf(values: Float32Array, start: number, end: number): number {
  let absmax = 0;
  // Stays 0 but for infinities and NaN, which make it NaN.
  let poison = 0;
  for (let i = start; i < end; i++) {
    const magnitude = Math.abs(values[i]);
    if (magnitude > absmax) absmax = magnitude;
    poison += magnitude * 0;
  }
  return absmax + poison;
}

/** 1.5 * 2^52: adding it leaves the nearest integer, ties to even. */
const ROUNDER = 6_755_399_441_055_744;

/** The nearest integer, ties to even, moved into low..high. */
export function roundWithin(value: number, low: number, high: number): number {
  const q = value + ROUNDER - ROUNDER;
  return q < low ? low : q > high ? high : q;
}

/** The arrays of `packQc8w`; `firstRow` is the number of the first row, for messages. */
export function arrangeQc8w(
  weight: Float32Array,
  n: number,
  k: number,
  groupSize = k,
  firstRow = 0,
): PackedArrays<'qc8w'> {
  checkSize('packQc8w', weight.length, n, k);
  if (groupSize !== k) checkGroup('packQc8w', 'qc8w', groupSize);
  const arrays = allocate('qc8w', n, k, groupSize);
  const { kp, packed, scales, groupSize: step } = arrays;
  const groups = Math.ceil(kp / step);
  for (let row = 0; row < n; row++) {
    const column = Math.floor(row / PANEL) * kp * PANEL + offsetQc8w(row % PANEL, 0);
    const base = row * k;
    for (let start = 0; start < k; start += step) {
      const end = Math.min(k, start + step);
      const absmax = absmaxOf(weight, base + start, base + end);
      if (Number.isNaN(absmax)) {
        throw new FormatError(`packQc8w: row ${firstRow + row} holds a weight that is not finite`);
      }
      const scale = Math.fround(absmax / QC8W_MAX);
      scales[(Math.floor(row / PANEL) * groups + start / step) * PANEL + (row % PANEL)] = scale;
      if (scale === 0) continue;
      for (let i = start; i < end; i++) {
        const q = roundWithin(weight[base + i] / scale, -QC8W_MAX, QC8W_MAX);
        packed[column + offsetQc8w(0, i)] = q + ZERO_POINT;
      }
    }
  }
  return arrays;
}
