import { qb4wScaleLayout, qb4wScalePlace, readQb4wScales } from '../qb4w-scales.ts';
import { PANEL, ZERO_POINT } from '../types.ts';
import { offsetQb4w, offsetQc8w } from './gemm.ts';

/** Scalar twin of `gatherRowsQc8w`: out[r,i] = (u - 64) * scale, one f32 rounding. */
export function gatherRowsQc8wRef(
  out: Float32Array,
  packed: Uint8Array,
  scales: Float32Array,
  ids: Int32Array,
  count: number,
  k: number,
  kp: number,
  weightGroup: number,
): void {
  const groups = Math.ceil(kp / weightGroup);
  gather(out, ids, count, k, (panel, column, i) => {
    const u = packed[panel * kp * PANEL + offsetQc8w(column, i)];
    return (
      (u - ZERO_POINT) * scales[(panel * groups + Math.floor(i / weightGroup)) * PANEL + column]
    );
  });
}

/** Scalar twin of `gatherRowsQb4w`: out[r,i] = D (s q + m), one f32 rounding. */
export function gatherRowsQb4wRef(
  out: Float32Array,
  packed: Uint8Array,
  scales: Uint8Array,
  ids: Int32Array,
  count: number,
  k: number,
  kp: number,
  weightGroup: number,
): void {
  const layout = qb4wScaleLayout(kp, weightGroup);
  gather(out, ids, count, k, (panel, column, i) => {
    const byte = packed[(panel * kp * PANEL) / 2 + offsetQb4w(column, i)];
    const place = qb4wScalePlace(layout, weightGroup, column, i);
    const { superScale, scale, min } = readQb4wScales(scales, panel * layout.bytes, place);
    return superScale * (scale * ((byte >> (i & 4)) & 15) + min);
  });
}

/** Rounds `value` of every output to f32: of input i of a column of a panel. */
function gather(
  out: Float32Array,
  ids: Int32Array,
  count: number,
  k: number,
  value: (panel: number, column: number, i: number) => number,
): void {
  for (let r = 0; r < count; r++) {
    const panel = Math.floor(ids[r] / PANEL);
    for (let i = 0; i < k; i++) out[r * k + i] = value(panel, ids[r] % PANEL, i);
  }
}
