// Rows of a packed matrix as f32: an embedding lookup out of the matrix that is also the LM head.

/** A half's bits to f32: moved to f32's place, then rebased by 2^112; exact, subnormals included. */
export function f16ToF32(bits: i32): f32 {
  return reinterpret<f32>(((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13)) * reinterpret<f32>(0x77800000);
}

export function gatherRowsQc8w(
  out: usize,
  packed: usize,
  scales: usize,
  mins: usize,
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
  mins: usize,
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
    let weights = packed + <usize>panel * <usize>kp * 4 + (column << 2);
    let at = (<usize>(panel * groups) << 4) + (column << 1);
    for (let start = 0; start < k; start += weightGroup) {
      const end = min<i32>(k, start + weightGroup);
      const scale = f16ToF32(load<u16>(scales + at));
      const least = f16ToF32(load<u16>(mins + at));
      const scale4 = f32x4.splat(scale);
      const least4 = f32x4.splat(least);
      let i = start;
      for (; i + 8 <= end; i += 8) {
        const bytes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(weights)));
        const low = f32x4.convert_i32x4_s(v128.and(bytes, i32x4.splat(15)));
        const high = f32x4.convert_i32x4_s(i32x4.shr_u(bytes, 4));
        v128.store(out, f32x4.add(f32x4.mul(low, scale4), least4));
        v128.store(out, f32x4.add(f32x4.mul(high, scale4), least4), 16);
        weights += 32;
        out += 32;
      }
      for (; i < end; i++) {
        const byte = <i32>load<u8>(weights + (i & 3));
        const product: f32 = <f32>((byte >> (i & 4)) & 15) * scale;
        store<f32>(out, product + least);
        out += 4;
      }
      at += 16;
    }
  }
}
