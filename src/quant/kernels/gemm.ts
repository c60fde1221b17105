import { f16ToNumber } from '../../tensor/dtype.ts';
import { BLOCK, PANEL, ZERO_POINT } from '../types.ts';

const fround = Math.fround;

/** Offset (bytes) of weight [column, i] of a panel in `qc8w`: [Kp/4][8 columns][4]. */
export function offsetQc8w(column: number, i: number): number {
  return (i >> 2) * 32 + column * 4 + (i & 3);
}

/**
 * Offset (bytes) of weight [column, i] of a panel in `qb4w`: [Kp/8][8 columns][4]; the low nibble
 * holds i = 0..3 of the eight, the high one i = 4..7.
 */
export function offsetQb4w(column: number, i: number): number {
  return (i >> 3) * 32 + column * 4 + (i & 3);
}

/** How a format's weights are read. */
interface ColumnReader {
  /** Fills `weights` [Kp] with the stored integers of output j. */
  column(weights: Uint8Array, panel: number, column: number): void;
  /** f32 of one run: its integer dot, the sum of its activations, where its scale lies. */
  term(dot: number, rowSum: number, scaleAt: number): number;
  /** The factor of the whole sum, for the output at `scaleAt`; undefined: none. */
  factor(scaleAt: number): number | undefined;
}

/** The arithmetic that `GemmKernel` fixes, over any format. */
function gemm(
  out: Float32Array,
  data: Int8Array,
  actScales: Float32Array,
  sums: Int32Array,
  reader: ColumnReader,
  bias: Float32Array | null,
  residual: Float32Array | null,
  m: number,
  n: number,
  kp: number,
  actGroup: number,
  weightGroup: number,
): void {
  const run = Math.min(actGroup, weightGroup, kp);
  const actGroups = Math.ceil(kp / actGroup);
  const weightGroups = Math.ceil(kp / weightGroup);
  const blocks = kp / BLOCK;
  const weights = new Uint8Array(kp);
  for (let j = 0; j < n; j++) {
    const panel = Math.floor(j / PANEL);
    const column = j % PANEL;
    reader.column(weights, panel, column);
    for (let row = 0; row < m; row++) {
      let y = 0;
      for (let start = 0; start < kp; start += run) {
        const end = Math.min(kp, start + run);
        let dot = 0;
        for (let i = start; i < end; i++) dot += data[row * kp + i] * weights[i];
        let rowSum = 0;
        for (let b = start / BLOCK; b < end / BLOCK; b++) rowSum += sums[row * blocks + b];
        const group = panel * weightGroups + Math.floor(start / weightGroup);
        let t = reader.term(dot, rowSum, group * PANEL + column);
        if (actGroups > 1) {
          t = fround(t * actScales[row * actGroups + Math.floor(start / actGroup)]);
        }
        y = fround(y + t);
      }
      const factor = reader.factor(panel * weightGroups * PANEL + column);
      if (factor !== undefined) y = fround(y * factor);
      if (actGroups === 1) y = fround(y * actScales[row]);
      if (bias) y = fround(y + bias[j]);
      if (residual) y = fround(y + residual[row * n + j]);
      out[row * n + j] = y;
    }
  }
}

/** Scalar twin of `gemmQd8F32Qc8w`. */
export function gemmQd8F32Qc8wRef(
  out: Float32Array,
  data: Int8Array,
  actScales: Float32Array,
  sums: Int32Array,
  packed: Uint8Array,
  scales: Float32Array,
  _mins: null,
  bias: Float32Array | null,
  residual: Float32Array | null,
  _scratch: null,
  m: number,
  n: number,
  kp: number,
  actGroup: number,
  weightGroup: number,
): void {
  const grouped = weightGroup < kp;
  const reader: ColumnReader = {
    column: (weights, panel, column) => {
      const base = panel * kp * PANEL;
      for (let i = 0; i < kp; i++) weights[i] = packed[base + offsetQc8w(column, i)];
    },
    term: (dot, rowSum, at) => {
      const t = fround(dot - ZERO_POINT * rowSum);
      return grouped ? fround(t * scales[at]) : t;
    },
    factor: (at) => (grouped ? undefined : scales[at]),
  };
  gemm(out, data, actScales, sums, reader, bias, residual, m, n, kp, actGroup, weightGroup);
}

/** Scalar twin of `gemmQd8F32Qb4w`. */
export function gemmQd8F32Qb4wRef(
  out: Float32Array,
  data: Int8Array,
  actScales: Float32Array,
  sums: Int32Array,
  packed: Uint8Array,
  scales: Uint16Array,
  mins: Uint16Array,
  bias: Float32Array | null,
  residual: Float32Array | null,
  _scratch: null,
  m: number,
  n: number,
  kp: number,
  actGroup: number,
  weightGroup: number,
): void {
  const reader: ColumnReader = {
    column: (weights, panel, column) => {
      const base = (panel * kp * PANEL) / 2;
      for (let i = 0; i < kp; i++) {
        weights[i] = (packed[base + offsetQb4w(column, i)] >> (i & 4)) & 15;
      }
    },
    term: (dot, rowSum, at) => {
      const scaled = fround(fround(dot) * f16ToNumber(scales[at]));
      return fround(scaled + fround(rowSum * f16ToNumber(mins[at])));
    },
    factor: () => undefined,
  };
  gemm(out, data, actScales, sums, reader, bias, residual, m, n, kp, actGroup, weightGroup);
}
