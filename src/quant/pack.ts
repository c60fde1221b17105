import { type Backend, defaultBackend } from '../tensor/backend.ts';
import { f16ToNumber, numberToF16 } from '../tensor/dtype.ts';
import { FormatError, ShapeError } from '../tensor/errors.ts';
import { offsetQb4w, offsetQc8w } from './kernels/gemm.ts';
import { type PackedArrays, PackedLinear, type PackedShape, packedSizes } from './packed-linear.ts';
import {
  BLOCK,
  MAX_INNER,
  PANEL,
  type QuantizedLinear,
  roundUp,
  type WeightFormat,
  ZERO_POINT,
} from './types.ts';

/** Largest magnitude of a `qc8w` weight: 7 bits, symmetric. */
const QC8W_MAX = 63;

/** @throws ShapeError unless [n,k] is a matrix that the kernels' integers can hold */
function checkSize(operation: string, length: number | undefined, n: number, k: number): void {
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

/** How a matrix lies once packed; one scale an output is one group over all of the padded inputs. */
function shapeOf(format: WeightFormat, n: number, k: number, groupSize: number): PackedShape {
  const kp = roundUp(k, BLOCK);
  return { format, n, k, kp, groupSize: format === 'qc8w' && groupSize >= k ? kp : groupSize };
}

/** Zeroed arrays for a matrix; columns past N have scale 0. */
function allocate(format: WeightFormat, n: number, k: number, groupSize: number): PackedArrays {
  const shape = shapeOf(format, n, k, groupSize);
  const sizes = packedSizes(shape);
  const packed = new Uint8Array(sizes.packed);
  return format === 'qc8w'
    ? {
        ...shape,
        packed: packed.fill(ZERO_POINT),
        scales: new Float32Array(sizes.scales),
        mins: null,
      }
    : {
        ...shape,
        packed,
        scales: new Uint16Array(sizes.scales),
        mins: new Uint16Array(sizes.scales),
      };
}

/** The arrays in a backend's memory. */
function put(arrays: PackedArrays, backend: Backend = defaultBackend()): PackedLinear {
  const out = new PackedLinear(arrays, backend);
  out.writeRows(0, arrays);
  return out;
}

/**
 * Memory for a packed matrix [N,K] that somebody else fills.
 * @throws ShapeError as the packers do
 */
export function emptyPacked(
  format: WeightFormat,
  n: number,
  k: number,
  groupSize: number,
  backend: Backend,
): PackedLinear {
  checkSize('emptyPacked', undefined, n, k);
  if (format === 'qb4w' || groupSize < k) checkGroup('emptyPacked', groupSize);
  return new PackedLinear(shapeOf(format, n, k, groupSize), backend);
}

/** Numbers that are packed at once where a matrix is packed in pieces. */
const PIECE = 2 ** 18;

/**
 * A matrix [N,K] packed a few rows at a time, so that only a few are ever held in another form;
 * the same bits as at once.
 * @param arrange packs the rows from..to by one of the functions `arrange...`
 * @throws ShapeError as the packers do, and whatever `arrange` throws
 */
export function packInPieces(
  format: WeightFormat,
  n: number,
  k: number,
  groupSize: number,
  backend: Backend,
  arrange: (from: number, to: number) => PackedArrays,
): QuantizedLinear {
  const out = emptyPacked(format, n, k, groupSize, backend);
  const step = Math.max(1, Math.floor(PIECE / (k * PANEL))) * PANEL;
  try {
    for (let from = 0; from < n; from += step) {
      out.writeRows(from, arrange(from, Math.min(n, from + step)));
    }
  } catch (error) {
    out.dispose();
    throw error;
  }
  return out;
}

/**
 * Bytes of backend memory that a packed matrix [N,K] takes, paddings and scales included, without
 * packing it.
 * @param groupSize a multiple of 32, or K and more for one scale an output
 * @throws ShapeError as the packers do
 */
export function packedByteLength(
  format: WeightFormat,
  n: number,
  k: number,
  groupSize: number,
): number {
  checkSize('packedByteLength', undefined, n, k);
  if (groupSize < k) checkGroup('packedByteLength', groupSize);
  const { packed, scales } = packedSizes(shapeOf(format, n, k, groupSize));
  // A qc8w scale is an f32; a qb4w scale and its min are two halves.
  return packed + 4 * scales;
}

/** Where the scale of [row, group] lies: [N/8][groups][8]. */
function scaleAt(arrays: PackedArrays, row: number, group: number): number {
  const groups = Math.ceil(arrays.kp / arrays.groupSize);
  return (Math.floor(row / PANEL) * groups + group) * PANEL + (row % PANEL);
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
function roundWithin(value: number, low: number, high: number): number {
  const q = value + ROUNDER - ROUNDER;
  return q < low ? low : q > high ? high : q;
}

/** Where the first weights of a row of `qb4w` lie. */
function columnQb4w(arrays: PackedArrays, row: number): number {
  return (Math.floor(row / PANEL) * arrays.kp * PANEL) / 2 + offsetQb4w(row % PANEL, 0);
}

/**
 * int8 per output channel, or per group of inputs where `groupSize` (a multiple of 32) is given:
 * `w ~ scale * q`, q in -63..63, scale = absmax / 63. Seven bits, because the relaxed SIMD dot is
 * the same on every engine only for weights in 0..127; all variants then give equal numbers.
 * Error at most scale / 2. Groups cost the kernel nothing where activations are grouped alike.
 * @throws ShapeError sizes that do not fit; FormatError for a weight that is not finite
 */
export function packQc8w(
  weight: Float32Array,
  n: number,
  k: number,
  options: { groupSize?: number; backend?: Backend } = {},
): QuantizedLinear {
  return put(arrangeQc8w(weight, n, k, options.groupSize), options.backend);
}

/** The arrays of `packQc8w`; `firstRow` is the number of the first row, for messages. */
export function arrangeQc8w(
  weight: Float32Array,
  n: number,
  k: number,
  groupSize = k,
  firstRow = 0,
): PackedArrays {
  checkSize('packQc8w', weight.length, n, k);
  if (groupSize !== k) checkGroup('packQc8w', groupSize);
  const arrays = allocate('qc8w', n, k, groupSize);
  const { kp, packed, scales } = arrays;
  const step = arrays.groupSize;
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
      scales[scaleAt(arrays, row, start / step)] = scale;
      if (scale === 0) continue;
      for (let i = start; i < end; i++) {
        const q = roundWithin(weight[base + i] / scale, -QC8W_MAX, QC8W_MAX);
        packed[column + offsetQc8w(0, i)] = q + ZERO_POINT;
      }
    }
  }
  return arrays;
}

/** @throws ShapeError unless a group is a positive multiple of 32 */
function checkGroup(operation: string, groupSize: number): void {
  if (!Number.isInteger(groupSize) || groupSize < BLOCK || groupSize % BLOCK !== 0) {
    throw new ShapeError(`${operation}: group size ${groupSize} is no multiple of ${BLOCK}`);
  }
}

/**
 * int4 in groups of inputs: `w ~ scale * q + min`, q in 0..15, scale and min f16, from the group's
 * least and largest weight. Error at most scale / 2 and the halves' rounding.
 * @throws ShapeError sizes that do not fit; FormatError for weights that f16 scales cannot hold
 */
export function packQb4w(
  weight: Float32Array,
  n: number,
  k: number,
  options: { groupSize?: 32 | 64 | 128; backend?: Backend } = {},
): QuantizedLinear {
  return put(arrangeQb4w(weight, n, k, options.groupSize), options.backend);
}

/** The arrays of `packQb4w`; `firstRow` is the number of the first row, for messages. */
export function arrangeQb4w(
  weight: Float32Array,
  n: number,
  k: number,
  groupSize = 32,
  firstRow = 0,
): PackedArrays {
  checkSize('packQb4w', weight.length, n, k);
  checkGroup('packQb4w', groupSize);
  const arrays = allocate('qb4w', n, k, groupSize);
  const { packed } = arrays;
  for (let row = 0; row < n; row++) {
    const column = columnQb4w(arrays, row);
    const base = row * k;
    for (let start = 0; start < k; start += groupSize) {
      const end = Math.min(k, start + groupSize);
      let least = weight[base + start];
      let most = least;
      // Stays 0 but for infinities and NaN, which make it NaN.
      let poison = 0;
      for (let i = start; i < end; i++) {
        const value = weight[base + i];
        if (value < least) least = value;
        else if (value > most) most = value;
        poison += value * 0;
      }
      const minBits = numberToF16(least + poison);
      const min = f16ToNumber(minBits);
      const scaleBits = numberToF16(Math.max(0, most - min) / 15);
      const scale = f16ToNumber(scaleBits);
      if (!Number.isFinite(min) || !Number.isFinite(scale)) {
        throw new FormatError(
          `packQb4w: row ${firstRow + row} holds weights that f16 scales cannot hold`,
        );
      }
      const at = scaleAt(arrays, row, start / groupSize);
      (arrays.scales as Uint16Array)[at] = scaleBits;
      (arrays.mins as Uint16Array)[at] = minBits;
      if (scale === 0) continue;
      for (let i = start; i < end; i++) {
        const q = roundWithin((weight[base + i] - min) / scale, 0, 15);
        packed[column + offsetQb4w(0, i)] |= q << (i & 4);
      }
    }
  }
  return arrays;
}

/** Packed bytes between input j and input j + 16 of a column. */
const HALF_BLOCK = offsetQb4w(0, 16);

/** Bytes of one GGUF block of 32 weights: f16 d, f16 m (Q4_1 alone), 16 bytes of nibbles. */
const BLOCK_BYTES = { q4_0: 18, q4_1: 20 } as const;

/**
 * GGUF rows [N,K] of Q4_1 (`w = d q + m`) or Q4_0 (`w = d (q - 8)`) as `qb4w` in groups of 32, with
 * the same nibbles and halves: every weight keeps its value (ggml's quants: block_q4_0, block_q4_1;
 * byte j of a block holds weight j low and j + 16 high).
 * Q4_0's min, -8 d, is a half too while |d| is below 8,190.
 * @throws ShapeError unless K is a multiple of 32; FormatError for a wrong length or a scale that
 * is not finite
 */
export function packQ41Blocks(
  bytes: Uint8Array,
  n: number,
  k: number,
  options: { type?: 'q4_1' | 'q4_0'; backend?: Backend } = {},
): QuantizedLinear {
  return put(arrangeQ41Blocks(bytes, n, k, options.type), options.backend);
}

/** The arrays of `packQ41Blocks`; `firstRow` is the number of the first row, for messages. */
export function arrangeQ41Blocks(
  bytes: Uint8Array,
  n: number,
  k: number,
  type: 'q4_1' | 'q4_0' = 'q4_1',
  firstRow = 0,
): PackedArrays {
  checkSize('packQ41Blocks', undefined, n, k);
  if (k % BLOCK !== 0) throw new ShapeError(`packQ41Blocks: K ${k} is no multiple of ${BLOCK}`);
  const size = BLOCK_BYTES[type];
  const groups = k / BLOCK;
  if (bytes.length !== n * groups * size) {
    throw new FormatError(
      `packQ41Blocks: [${n},${k}] in ${type} takes ${n * groups * size} bytes, got ${bytes.length}`,
    );
  }
  const arrays = allocate('qb4w', n, k, BLOCK);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { packed } = arrays;
  for (let row = 0; row < n; row++) {
    const column = columnQb4w(arrays, row);
    for (let group = 0; group < groups; group++) {
      const from = (row * groups + group) * size;
      const scaleBits = view.getUint16(from, true);
      const minBits =
        type === 'q4_1' ? view.getUint16(from + 2, true) : numberToF16(-8 * f16ToNumber(scaleBits));
      if (!Number.isFinite(f16ToNumber(scaleBits)) || !Number.isFinite(f16ToNumber(minBits))) {
        throw new FormatError(
          `packQ41Blocks: row ${firstRow + row} block ${group} has a scale not finite`,
        );
      }
      const at = scaleAt(arrays, row, group);
      (arrays.scales as Uint16Array)[at] = scaleBits;
      (arrays.mins as Uint16Array)[at] = minBits;
      const nibbles = from + size - 16;
      // Inputs 0..31 of the block from low nibbles, then high ones, two quads to four bytes.
      for (let j = 0; j < 16; j++) {
        const byte = bytes[nibbles + j];
        const low = column + offsetQb4w(0, group * BLOCK + j);
        packed[low] |= (byte & 15) << (j & 4);
        packed[low + HALF_BLOCK] |= (byte >> 4) << (j & 4);
      }
    }
  }
  return arrays;
}
