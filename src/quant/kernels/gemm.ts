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

/** How one panel's weights are read: value of [column, i], and scale and min of [column, group]. */
interface PanelReader {
  weight(panel: number, column: number, i: number): number;
  term(dot: number, rowSum: number, panel: number, column: number, group: number): number;
}

/** The arithmetic that `GemmKernel` fixes, over any format. */
function gemm(
  out: Float32Array,
  data: Int8Array,
  actScales: Float32Array,
  sums: Int32Array,
  reader: PanelReader,
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
  const blocks = kp / BLOCK;
  for (let row = 0; row < m; row++) {
    for (let j = 0; j < n; j++) {
      const panel = Math.floor(j / PANEL);
      const column = j % PANEL;
      let y = 0;
      for (let start = 0; start < kp; start += run) {
        const end = Math.min(kp, start + run);
        let dot = 0;
        for (let i = start; i < end; i++)
          dot += data[row * kp + i] * reader.weight(panel, column, i);
        let rowSum = 0;
        for (let b = start / BLOCK; b < end / BLOCK; b++) rowSum += sums[row * blocks + b];
        let t = reader.term(dot, rowSum, panel, column, Math.floor(start / weightGroup));
        if (actGroups > 1) {
          t = fround(t * actScales[row * actGroups + Math.floor(start / actGroup)]);
        }
        y = fround(y + t);
      }
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
  const groups = Math.ceil(kp / weightGroup);
  const reader: PanelReader = {
    weight: (panel, column, i) => packed[panel * kp * PANEL + offsetQc8w(column, i)],
    term: (dot, rowSum, panel, column, group) =>
      fround(fround(dot - ZERO_POINT * rowSum) * scales[(panel * groups + group) * PANEL + column]),
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
  const groups = Math.ceil(kp / weightGroup);
  const reader: PanelReader = {
    weight: (panel, column, i) =>
      (packed[(panel * kp * PANEL) / 2 + offsetQb4w(column, i)] >> (i & 4)) & 15,
    term: (dot, rowSum, panel, column, group) => {
      const at = (panel * groups + group) * PANEL + column;
      const scaled = fround(fround(dot) * f16ToNumber(scales[at]));
      return fround(scaled + fround(rowSum * f16ToNumber(mins[at])));
    },
  };
  gemm(out, data, actScales, sums, reader, bias, residual, m, n, kp, actGroup, weightGroup);
}
