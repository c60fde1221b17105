import type { Handle } from '../../tensor/backend.ts';
import type { ActivationBits } from '../codec.ts';
import { SUPER_BLOCK } from '../qb4w-scales.ts';

/**
 * Integer matmul of rows and a packed matrix. Let u be the stored weight, a the activation, r a run of
 * inputs with one activation scale A and, for qc8w, one weight scale W; for qb4w a run lies within
 * 128 inputs, which share D, and its groups g have integers s and m:
 *
 *     qc8w: t_r = f32(sum a (u - 64)) [* W_r] [* A_r]
 *     qb4w: t_r = f32(sum_g (s_g sum a u + m_g sum a)) * D_r [* A_r]
 *     y = (sum_r t_r) [* W] [* A] [+ bias] [+ residual]
 *
 * A scale is applied inside the sum where there are several along K, and once behind it where there
 * is one (a row's A, a qc8w channel's W).
 * Sums over a and g are exact integers below 2^31; everything else is f32, each operation rounded,
 * left to right in the order written, so that every implementation gives the same bits.
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
  /** f32 [N] or `nil`. */
  bias: Handle,
  /** f32 [M,N] or `nil`; may be `out`. */
  residual: Handle,
  /** `scratchBytes(...)` bytes; the scalar twin takes none. */
  scratch: Handle,
  m: number,
  n: number,
  kp: number,
  /**
   * Multiple of 32; at least Kp means one scale a row. For qc8w one group size divides the other, for
   * qb4w this or 128 the other of both.
   */
  actGroup: number,
  weightGroup: number,
) => void;

/** f32 rows `ids` out of a packed matrix: out [count, K]. Ids are in range. */
export type GatherKernel = (
  out: Handle,
  packed: Handle,
  scales: Handle,
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
 * decoded scales, sums over runs (at most two a 64 inputs), and every activation eight times.
 */
export function scratchBytes(m: number, kp: number): number {
  const superBlocks = Math.ceil(kp / SUPER_BLOCK);
  const rows = Math.min(ROW_BLOCK, Math.ceil(m / 4) * 4);
  return 128 + superBlocks * (32 + 4 * 32 + 4 * 4 * ROW_BLOCK) + rows * kp * 8;
}
