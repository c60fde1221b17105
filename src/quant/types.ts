import type { Tensor } from '../tensor/tensor.ts';

/**
 * How weights are stored, in XNNPACK's words. `qc8w`: signed integers of 7 bits in bytes, one f32
 * scale a channel (or a group of inputs). `qb4w`: 4 bits in groups of inputs, `D (s q + m)` with
 * integers s (8 bits) and m (16) a group and one bfloat16 D for 128 inputs (qb4w-scales.ts).
 */
export type WeightFormat = 'qc8w' | 'qb4w';

/** Columns of one packed panel: outputs that a kernel computes together. */
export const PANEL = 8;

/** Inner lengths are padded with zeros to a multiple of this; group sizes are multiples of it. */
export const BLOCK = 32;

/** Added to a `qc8w` weight in memory: bytes 1..127, which every engine's relaxed dot gets right. */
export const ZERO_POINT = 64;

/**
 * Which arrangement of packed matrices this is. Files of packed weights carry it: it rises with every
 * change of what packers put where, or of the numbers that they make of a weight.
 */
export const PACK_LAYOUT = 2;

/** Longest inner length: 127 * 127 * K stays within i32. */
export const MAX_INNER = 131_072;

/** A frozen matrix [N,K] in few bits, packed for the kernels; holds backend memory until `dispose`. */
export interface QuantizedLinear {
  readonly kind: 'quantized';
  readonly format: WeightFormat;
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  /** Inputs that share one scale; K (padded to 32) where there is one scale an output. */
  readonly groupSize: number;
  /** Bytes of backend memory, paddings and scales included. */
  readonly byteLength: number;
  /** Gives the memory back; a second call does nothing. */
  dispose(): void;
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Rows [R,K] quantized to signed int8: `x ~ scales * data`. A plain tree of tensors, so that
 * `scope` and `disposeTree` free it.
 */
export interface QuantizedRows {
  readonly kind: 'quantizedRows';
  /** R. */
  readonly rows: number;
  /** K. */
  readonly inner: number;
  /** Elements of a row that share one scale; K (padded to 32) where there is one scale a row. */
  readonly groupSize: number;
  /** i8 [R, K padded to 32]; zeros in the padding. */
  readonly data: Tensor;
  /** f32 [R, groups]. */
  readonly scales: Tensor;
  /** i32 [R, blocks of 32]: sums of `data`, for zero points and minima of weights. */
  readonly sums: Tensor;
}

/** `value` rounded up to a multiple of `step`. */
export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
