import { f16ToNumber } from '../../tensor/dtype.ts';
import { PANEL, ZERO_POINT } from '../types.ts';
import { offsetQb4w, offsetQc8w } from './gemm.ts';

const fround = Math.fround;

/** Scalar twin of `gatherRowsQc8w`: out[r,i] = (u - 64) * scale, one f32 rounding. */
export function gatherRowsQc8wRef(
  out: Float32Array,
  packed: Uint8Array,
  scales: Float32Array,
  _mins: null,
  ids: Int32Array,
  count: number,
  k: number,
  kp: number,
  weightGroup: number,
): void {
  gather(out, ids, count, k, kp, weightGroup, (base, column, i, at) => {
    const u = packed[base + offsetQc8w(column, i)];
    return (u - ZERO_POINT) * scales[at];
  });
}

/** Scalar twin of `gatherRowsQb4w`: out[r,i] = scale * q + min, the product rounded, then the sum. */
export function gatherRowsQb4wRef(
  out: Float32Array,
  packed: Uint8Array,
  scales: Uint16Array,
  mins: Uint16Array,
  ids: Int32Array,
  count: number,
  k: number,
  kp: number,
  weightGroup: number,
): void {
  gather(out, ids, count, k, kp, weightGroup, (base, column, i, at) => {
    const byte = packed[base / 2 + offsetQb4w(column, i)];
    const scaled = fround(((byte >> (i & 4)) & 15) * f16ToNumber(scales[at]));
    return scaled + f16ToNumber(mins[at]);
  });
}

/**
 * Rounds `value` of every output to f32: of input i of a column of the panel whose weights begin at
 * element `base`, with its scale (and min) at `at`.
 */
function gather(
  out: Float32Array,
  ids: Int32Array,
  count: number,
  k: number,
  kp: number,
  weightGroup: number,
  value: (base: number, column: number, i: number, at: number) => number,
): void {
  const groups = Math.ceil(kp / weightGroup);
  for (let r = 0; r < count; r++) {
    const panel = Math.floor(ids[r] / PANEL);
    const column = ids[r] % PANEL;
    for (let i = 0; i < k; i++) {
      const at = (panel * groups + Math.floor(i / weightGroup)) * PANEL + column;
      out[r * k + i] = value(panel * kp * PANEL, column, i, at);
    }
  }
}
