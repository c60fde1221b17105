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
  const groups = Math.ceil(kp / weightGroup);
  for (let r = 0; r < count; r++) {
    const panel = Math.floor(ids[r] / PANEL);
    const column = ids[r] % PANEL;
    for (let i = 0; i < k; i++) {
      const u = packed[panel * kp * PANEL + offsetQc8w(column, i)];
      const at = (panel * groups + Math.floor(i / weightGroup)) * PANEL + column;
      out[r * k + i] = fround((u - ZERO_POINT) * scales[at]);
    }
  }
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
  const groups = Math.ceil(kp / weightGroup);
  for (let r = 0; r < count; r++) {
    const panel = Math.floor(ids[r] / PANEL);
    const column = ids[r] % PANEL;
    for (let i = 0; i < k; i++) {
      const byte = packed[(panel * kp * PANEL) / 2 + offsetQb4w(column, i)];
      const at = (panel * groups + Math.floor(i / weightGroup)) * PANEL + column;
      const scaled = fround(((byte >> (i & 4)) & 15) * f16ToNumber(scales[at]));
      out[r * k + i] = fround(scaled + f16ToNumber(mins[at]));
    }
  }
}
