// Rows of a packed matrix as f32: an embedding lookup out of the matrix that is also the LM head.

import { qb4wMinsAt, qb4wPanelBytes, qb4wScalesAt } from './qb4w-layout';

export function gatherRowsQc8w(
  out: usize,
  packed: usize,
  scales: usize,
  ids: usize,
  count: i32,
  k: i32,
  kp: i32,
  weightGroup: i32,
): void {
  const groups = (kp + weightGroup - 1) / weightGroup;
  for (let r = 0; r < count; r++) {
    const id = load<i32>(ids + (<usize>r << 2));
    const panel = id >> 3;
    const column = id & 7;
    let weights = packed + <usize>panel * <usize>kp * 8 + (column << 2);
    let scale = scales + (<usize>(panel * groups) << 5) + (column << 2);
    for (let start = 0; start < k; start += weightGroup) {
      const end = min<i32>(k, start + weightGroup);
      const factor = load<f32>(scale);
      const factors = f32x4.splat(factor);
      let i = start;
      for (; i + 4 <= end; i += 4) {
        const u = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(weights)));
        v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(u, i32x4.splat(64))), factors));
        weights += 32;
        out += 16;
      }
      for (; i < end; i++) {
        store<f32>(out, <f32>(<i32>load<u8>(weights + (i & 3)) - 64) * factor);
        out += 4;
      }
      scale += 32;
    }
  }
}

export function gatherRowsQb4w(
  out: usize,
  packed: usize,
  scales: usize,
  ids: usize,
  count: i32,
  k: i32,
  kp: i32,
  weightGroup: i32,
): void {
  const scalesAt = qb4wScalesAt(kp);
  const minsAt = qb4wMinsAt(kp, weightGroup);
  const panelBytes = qb4wPanelBytes(kp, weightGroup);
  for (let r = 0; r < count; r++) {
    const id = load<i32>(ids + (<usize>r << 2));
    const panel = id >> 3;
    const column = <usize>(id & 7);
    let weights = packed + <usize>panel * <usize>kp * 4 + (column << 2);
    const panelScales = scales + <usize>panel * panelBytes;
    for (let start = 0; start < k; start += weightGroup) {
      const end = min<i32>(k, start + weightGroup);
      const group = start / weightGroup;
      // Two groups a pair; one of 128 takes the first place of a pair.
      const half = weightGroup == 128 ? group << 1 : group;
      const superScale = reinterpret<f32>(
        <i32>load<u16>(panelScales + (<usize>(start >> 7) << 4) + (column << 1)) << 16,
      );
      const scale = <i32>load<i8>(panelScales + scalesAt + (<usize>group << 3) + column);
      const least = <i32>load<i16>(
        panelScales + minsAt + (<usize>(half >> 1) << 5) + (column << 2) + (<usize>(half & 1) << 1),
      );
      const superScale4 = f32x4.splat(superScale);
      const scale4 = i32x4.splat(scale);
      const least4 = i32x4.splat(least);
      let i = start;
      for (; i + 8 <= end; i += 8) {
        const bytes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(weights)));
        const low = i32x4.add(i32x4.mul(v128.and(bytes, i32x4.splat(15)), scale4), least4);
        const high = i32x4.add(i32x4.mul(i32x4.shr_u(bytes, 4), scale4), least4);
        v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(low), superScale4));
        v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(high), superScale4), 16);
        weights += 32;
        out += 32;
      }
      for (; i < end; i++) {
        const byte = <i32>load<u8>(weights + (i & 3));
        store<f32>(out, <f32>(((byte >> (i & 4)) & 15) * scale + least) * superScale);
        out += 4;
      }
    }
  }
}
