import { type Backend, defaultBackend } from '../tensor/backend.ts';
import { f16ToNumber, numberToF16 } from '../tensor/dtype.ts';
import { FormatError, ShapeError } from '../tensor/errors.ts';
import { offsetQb4w, offsetQc8w } from './kernels/gemm.ts';
import { type PackedArrays, PackedLinear } from './packed-linear.ts';
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

/** Zeroed arrays for a matrix; columns past N have scale 0. */
function allocate(format: WeightFormat, n: number, k: number, groupSize: number): PackedArrays {
  const kp = roundUp(k, BLOCK);
  const np = roundUp(n, PANEL);
  const scales = np * Math.ceil(kp / Math.min(groupSize, kp));
  return format === 'qc8w'
    ? {
        format,
        n,
        k,
        kp,
        groupSize,
        packed: new Uint8Array(np * kp).fill(ZERO_POINT),
        scales: new Float32Array(scales),
        mins: null,
      }
    : {
        format,
        n,
        k,
        kp,
        groupSize,
        packed: new Uint8Array((np * kp) / 2),
        scales: new Uint16Array(scales),
        mins: new Uint16Array(scales),
      };
}

/** Where the scale of [row, group] lies: [N/8][groups][8]. */
function scaleAt(arrays: PackedArrays, row: number, group: number): number {
  const groups = Math.ceil(arrays.kp / arrays.groupSize);
  return (Math.floor(row / PANEL) * groups + group) * PANEL + (row % PANEL);
}

function putNibble(arrays: PackedArrays, row: number, i: number, q: number): void {
  const panel = (Math.floor(row / PANEL) * arrays.kp * PANEL) / 2;
  arrays.packed[panel + offsetQb4w(row % PANEL, i)] |= q << (i & 4);
}

/**
 * int8 per output channel, or per group of inputs where `groupSize` (a multiple of 32) is given:
 * `w ~ scale * q`, q in -63..63, scale = absmax / 63. Seven bits, because the relaxed SIMD dot is
 * the same on every engine only for weights in 0..127; all variants then give equal numbers.
 * Error at most scale / 2.
 * @throws ShapeError sizes that do not fit; FormatError for a weight that is not finite
 */
export function packQc8w(
  weight: Float32Array,
  n: number,
  k: number,
  options: { groupSize?: number; backend?: Backend } = {},
): QuantizedLinear {
  return new PackedLinear(
    arrangeQc8w(weight, n, k, options.groupSize),
    options.backend ?? defaultBackend(),
  );
}

/** The arrays of `packQc8w`. */
export function arrangeQc8w(
  weight: Float32Array,
  n: number,
  k: number,
  groupSize = k,
): PackedArrays {
  checkSize('packQc8w', weight.length, n, k);
  if (groupSize !== k) checkGroup('packQc8w', groupSize);
  const arrays = allocate('qc8w', n, k, groupSize >= k ? roundUp(k, BLOCK) : groupSize);
  const { kp, packed, scales } = arrays;
  const step = arrays.groupSize;
  for (let row = 0; row < n; row++) {
    const panel = Math.floor(row / PANEL) * kp * PANEL;
    for (let start = 0; start < k; start += step) {
      const end = Math.min(k, start + step);
      let absmax = 0;
      for (let i = start; i < end; i++) {
        absmax = Math.max(absmax, Math.abs(weight[row * k + i]));
      }
      if (!(absmax < Number.POSITIVE_INFINITY)) {
        throw new FormatError(`packQc8w: row ${row} holds a weight that is not finite`);
      }
      const scale = Math.fround(absmax / QC8W_MAX);
      scales[scaleAt(arrays, row, start / step)] = scale;
      if (scale === 0) continue;
      for (let i = start; i < end; i++) {
        const q = Math.max(-QC8W_MAX, Math.min(QC8W_MAX, Math.round(weight[row * k + i] / scale)));
        packed[panel + offsetQc8w(row % PANEL, i)] = q + ZERO_POINT;
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
  return new PackedLinear(
    arrangeQb4w(weight, n, k, options.groupSize),
    options.backend ?? defaultBackend(),
  );
}

/** The arrays of `packQb4w`. */
export function arrangeQb4w(
  weight: Float32Array,
  n: number,
  k: number,
  groupSize = 32,
): PackedArrays {
  checkSize('packQb4w', weight.length, n, k);
  checkGroup('packQb4w', groupSize);
  const arrays = allocate('qb4w', n, k, groupSize);
  for (let row = 0; row < n; row++) {
    for (let start = 0; start < k; start += groupSize) {
      const end = Math.min(k, start + groupSize);
      let least = Number.POSITIVE_INFINITY;
      let most = Number.NEGATIVE_INFINITY;
      for (let i = start; i < end; i++) {
        least = Math.min(least, weight[row * k + i]);
        most = Math.max(most, weight[row * k + i]);
      }
      const minBits = numberToF16(least);
      const min = f16ToNumber(minBits);
      const scaleBits = numberToF16(Math.max(0, most - min) / 15);
      const scale = f16ToNumber(scaleBits);
      if (!Number.isFinite(min) || !Number.isFinite(scale)) {
        throw new FormatError(`packQb4w: row ${row} holds weights that f16 scales cannot hold`);
      }
      const at = scaleAt(arrays, row, start / groupSize);
      (arrays.scales as Uint16Array)[at] = scaleBits;
      (arrays.mins as Uint16Array)[at] = minBits;
      if (scale === 0) continue;
      for (let i = start; i < end; i++) {
        const q = Math.round((weight[row * k + i] - min) / scale);
        putNibble(arrays, row, i, Math.max(0, Math.min(15, q)));
      }
    }
  }
  return arrays;
}

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
  return new PackedLinear(
    arrangeQ41Blocks(bytes, n, k, options.type),
    options.backend ?? defaultBackend(),
  );
}

/** The arrays of `packQ41Blocks`. */
export function arrangeQ41Blocks(
  bytes: Uint8Array,
  n: number,
  k: number,
  type: 'q4_1' | 'q4_0' = 'q4_1',
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
  for (let row = 0; row < n; row++) {
    for (let group = 0; group < groups; group++) {
      const from = (row * groups + group) * size;
      const scaleBits = view.getUint16(from, true);
      const minBits =
        type === 'q4_1' ? view.getUint16(from + 2, true) : numberToF16(-8 * f16ToNumber(scaleBits));
      if (!Number.isFinite(f16ToNumber(scaleBits)) || !Number.isFinite(f16ToNumber(minBits))) {
        throw new FormatError(`packQ41Blocks: row ${row} block ${group} has a scale not finite`);
      }
      const at = scaleAt(arrays, row, group);
      (arrays.scales as Uint16Array)[at] = scaleBits;
      (arrays.mins as Uint16Array)[at] = minBits;
      const nibbles = from + size - 16;
      for (let j = 0; j < 16; j++) {
        const byte = bytes[nibbles + j];
        putNibble(arrays, row, group * BLOCK + j, byte & 15);
        putNibble(arrays, row, group * BLOCK + j + 16, byte >> 4);
      }
    }
  }
  return arrays;
}
