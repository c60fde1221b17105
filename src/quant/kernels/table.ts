import type { Handle } from '../../tensor/backend.ts';
import type { ActivationBits } from '../codec.ts';

/**
 * Integer matmul of rows and a packed matrix. Let u be the stored weight, a the activation, s a run
 * of inputs with one activation scale A and one weight scale W (and min):
 *
 *     qc8w: t_s = f32(sum a (u - 64)) [* W_s] [* A_s]
 *     qb4w: t_s = (f32(sum a u) * W_s + f32(sum a) * min_s) [* A_s]
 *     y = (sum_s t_s) [* W] [* A] [+ bias] [+ residual]
 *
 * A scale is applied inside the sum where there are several along K, and once behind it where there
 * is one (a row's A, a qc8w channel's W).
 * Sums over a are exact integers; everything else is f32, each operation rounded, left to right in
 * the order written, so that every implementation gives the same bits.
 */
export type GemmKernel = (
  /** f32 [M,N]. */
  out: Handle,
  /** i8 [M,Kp], Kp = K padded to 32. */
  data: Handle,
  /** f32 [M, ceil(Kp / actGroup)]. */
  actScales: Handle,
  /** i32 [M, Kp / 32]. */
  sums: Handle,
  packed: Handle,
  scales: Handle,
  /** f16 as `scales`; `nil` for qc8w. */
  mins: Handle,
  /** f32 [N] or `nil`. */
  bias: Handle,
  /** f32 [M,N] or `nil`; may be `out`. */
  residual: Handle,
  /** `scratchBytes(...)` bytes; the scalar twin takes none. */
  scratch: Handle,
  m: number,
  n: number,
  kp: number,
  /** Multiple of 32; at least Kp means one scale a row. One group size divides the other. */
  actGroup: number,
  weightGroup: number,
) => void;

/** f32 rows `ids` out of a packed matrix: out [count, K]. Ids are in range. */
export type GatherKernel = (
  out: Handle,
  packed: Handle,
  scales: Handle,
  mins: Handle,
  idsI32: Handle,
  count: number,
  k: number,
  kp: number,
  weightGroup: number,
) => void;

/**
 * Rows to the wire's bytes (codec.ts): x [R,D], first standardized by channel to (x - mean) / scale,
 * which is computed in f64 and rounded to f32, then coded group by group. A group with a NaN or
 * infinity gets an infinite scale. Overwrites x.
 */
export type EncodeKernel = (
  /** u8, `encodedLength(R, D, bits)`. */
  out: Handle,
  /** f32 [R,D]. */
  x: Handle,
  /** f32 [kinds,D], row r takes those of r mod kinds; or `nil`, then `scale` is, too. */
  mean: Handle,
  scale: Handle,
  rows: number,
  width: number,
  kinds: number,
  bits: ActivationBits,
) => void;

/** Every kernel of `quant/`; one table a backend. */
export interface QuantKernels {
  /**
   * `scale = absmax / 127`, `data = round(x * (127 / absmax))`, ties to even, per group of a row.
   * A group whose absmax is below 2^-100 becomes zeros with scale 0; one with an infinity or NaN
   * becomes zeros with scale NaN, so that outputs show it.
   */
  quantizeRowsQd8: (
    data: Handle,
    scales: Handle,
    sums: Handle,
    x: Handle,
    rows: number,
    k: number,
    kp: number,
    groupSize: number,
  ) => void;
  gemmQd8F32Qc8w: GemmKernel;
  gemmQd8F32Qb4w: GemmKernel;
  gatherRowsQc8w: GatherKernel;
  gatherRowsQb4w: GatherKernel;
  encodeRows: EncodeKernel;
}

/** Rows that the SIMD kernels prepare at a time (assembly/activations.ts). */
export const ROW_BLOCK = 16;

/**
 * Bytes of scratch that a SIMD gemm over rows [M,Kp] needs: spill, bias and masks, one panel's
 * decoded scales, sums over runs, and every activation eight times.
 */
export function scratchBytes(m: number, kp: number, actGroup: number, weightGroup: number): number {
  const runs = Math.ceil(kp / Math.min(actGroup, weightGroup, kp));
  const rows = Math.min(ROW_BLOCK, Math.ceil(m / 4) * 4);
  return 128 + Math.ceil(kp / weightGroup) * 64 + ROW_BLOCK * runs * 4 + rows * kp * 8;
}
