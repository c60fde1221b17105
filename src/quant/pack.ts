import { type Backend, defaultBackend } from '../tensor/backend.ts';
import { arrangeQc8w, checkGroup, checkSize, shapeOf } from './arrange.ts';
import { arrangeQ41Blocks, arrangeQb4w } from './arrange-qb4w.ts';
import { type PackedArrays, PackedLinear, packedSizes } from './packed-linear.ts';
import type { Qb4wGroup } from './qb4w-scales.ts';
import { PANEL, type QuantizedLinear, type WeightFormat } from './types.ts';

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
  if (format === 'qb4w' || groupSize < k) checkGroup('emptyPacked', format, groupSize);
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
 * @param groupSize as the packers take it; for qc8w K and more is one scale an output
 * @throws ShapeError as the packers do
 */
export function packedByteLength(
  format: WeightFormat,
  n: number,
  k: number,
  groupSize: number,
): number {
  checkSize('packedByteLength', undefined, n, k);
  if (format === 'qb4w' || groupSize < k) checkGroup('packedByteLength', format, groupSize);
  const { packed, scales } = packedSizes(shapeOf(format, n, k, groupSize));
  return packed + (format === 'qc8w' ? 4 * scales : scales);
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

/**
 * int4 in groups of inputs: `w ~ D (s q + m)`, q in 0..15. Of a group's least weight and step, a 15th
 * of its range, D is the larger of the largest step / 127 and the largest |least| / 31,000 among 128
 * inputs, rounded up to bfloat16, s = ceil(step / D), m = round(least / D). The error is at most
 * (step + D) / 2.
 * @throws ShapeError sizes that do not fit; FormatError for a weight that is not finite
 */
export function packQb4w(
  weight: Float32Array,
  n: number,
  k: number,
  options: { groupSize?: Qb4wGroup; backend?: Backend } = {},
): QuantizedLinear {
  return put(arrangeQb4w(weight, n, k, options.groupSize), options.backend);
}

/**
 * GGUF rows [N,K] of Q4_1 (`w = d q + m`) or Q4_0 (`w = d (q - 8)`) as `qb4w` in groups of 32, with
 * the same nibbles (ggml's quants: block_q4_0, block_q4_1; byte j of a block holds weight j low and
 * j + 16 high). D is chosen as in `packQb4w`, s = round(d / D), and m so that the weight of q = 8 is
 * kept to D / 2, of Q4_0 exactly: an error of 4.5 D at the most. D is a 127th of the largest |d| of four
 * blocks, or a 31,000th of the largest weight of q = 8 where that is more.
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
