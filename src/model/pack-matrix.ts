import {
  arrangeQ41Blocks,
  arrangeQb4w,
  arrangeQc8w,
  packedByteLength,
  packInPieces,
  type WeightFormat,
} from '../quant/index.ts';
import { type Backend, keep, Tensor } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import type { LinearWeight } from './nn/linear.ts';
import { dequantize, type GgmlType } from './weights/dequantize.ts';
import type { StoredMatrix } from './weights/weight-source.ts';

/** Inputs whose int8 weights share a scale; of the same width as the groups of activations. */
export const INT8_GROUP = 128;

/** Weights that share a scale when a matrix is packed to 4 bits; that of Q4_0 and Q4_1 blocks. */
export const INT4_GROUP = 32;

/** Numbers of a matrix that are held as f32 at once on the way. */
const PIECE = 2 ** 18;

/** Types whose blocks are `qb4w` with the same nibbles, in another order. */
const SAME_BLOCKS: Partial<Record<GgmlType, 'q4_0' | 'q4_1'>> = { Q4_0: 'q4_0', Q4_1: 'q4_1' };

/**
 * Quantized types of more than 4 bits. In a file of 4-bit matrices some (embeddings, mostly) have
 * one of these for a reason, so int4 keeps them in 8.
 */
const ABOVE_FOUR_BITS: readonly GgmlType[] = ['Q5_0', 'Q5_1', 'Q5_K', 'Q6_K', 'Q8_0'];

type Packing = 'f32' | 'int8' | 'int4' | 'blocks';

function packingOf(type: GgmlType, precision: WeightPrecision): Packing {
  if (precision !== 'int4') return precision;
  if (SAME_BLOCKS[type]) return 'blocks';
  return ABOVE_FOUR_BITS.includes(type) ? 'int8' : 'int4';
}

/**
 * A stored matrix `[N, K]` in the form that kernels read. Q4_0 and Q4_1 keep their nibbles in
 * int4; every other type is decoded to f32 and packed from there, a few rows at a time.
 * @throws FormatError for a type that cannot be decoded, or weights that are not finite
 */
export function packMatrix(
  matrix: StoredMatrix,
  precision: WeightPrecision,
  backend: Backend,
): LinearWeight {
  const { rows, columns, type, bytes } = matrix;
  const rowBytes = bytes.length / rows;
  const rawRows = (from: number, to: number) => bytes.subarray(from * rowBytes, to * rowBytes);
  const floats = (from: number, to: number) =>
    dequantize(type, rawRows(from, to), (to - from) * columns);
  switch (packingOf(type, precision)) {
    case 'f32': {
      const values = keep(Tensor.empty([rows, columns], 'f32', backend));
      const step = Math.max(1, Math.floor(PIECE / columns));
      for (let from = 0; from < rows; from += step) {
        values.write(floats(from, Math.min(rows, from + step)), from * columns);
      }
      return values;
    }
    case 'int8':
      return packInPieces('qc8w', rows, columns, INT8_GROUP, backend, (from, to) =>
        arrangeQc8w(floats(from, to), to - from, columns, INT8_GROUP, from),
      );
    case 'blocks':
      return packInPieces('qb4w', rows, columns, INT4_GROUP, backend, (from, to) =>
        arrangeQ41Blocks(rawRows(from, to), to - from, columns, SAME_BLOCKS[type], from),
      );
    case 'int4':
      return packInPieces('qb4w', rows, columns, INT4_GROUP, backend, (from, to) =>
        arrangeQb4w(floats(from, to), to - from, columns, INT4_GROUP, from),
      );
  }
}

/** The form that `packMatrix` gives a matrix stored as `type`. */
export function packedFormat(type: GgmlType, precision: WeightPrecision): WeightFormat | 'f32' {
  const packing = packingOf(type, precision);
  return packing === 'f32' ? 'f32' : packing === 'int8' ? 'qc8w' : 'qb4w';
}

/** Bytes on the backend of what `packMatrix` makes of a matrix `[N, K]` stored as `type`. */
export function packedMatrixBytes(
  rows: number,
  columns: number,
  type: GgmlType,
  precision: WeightPrecision,
): number {
  const packing = packingOf(type, precision);
  if (packing === 'f32') return 4 * rows * columns;
  return packing === 'int8'
    ? packedByteLength('qc8w', rows, columns, INT8_GROUP)
    : packedByteLength('qb4w', rows, columns, INT4_GROUP);
}
