// What is around the products of a tile: scales decoded, bias, residual, and stores that stop at the last
// column.

/** Where in the scratch the tiles find what the gemm put there (bytes). */
export const SPILL: usize = 0;
export const BIAS: usize = 32;
export const MASK: usize = 64;
export const ONES: usize = 80;
export const DECODED: usize = 128;

/** Four bfloat16 to f32: moved to f32's upper half; exact. */
export function bfloats(from: usize): v128 {
  return i32x4.shl(v128.load16x4_u(from), 16);
}

/**
 * The scales of columns 0..3 out of eight i16, each as often as the tiles multiply by it: twice for the
 * 16-bit dot, whose lanes are pairs, once in 32 bits for others.
 */
export function lowScales<Dot>(eight: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD && sizeof<Dot>() == 2) {
    return v128.shuffle<i16>(eight, eight, 0, 0, 1, 1, 2, 2, 3, 3);
  }
  return i32x4.extend_low_i16x8_s(eight);
}

/** The scales of columns 4..7. */
export function highScales<Dot>(eight: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD && sizeof<Dot>() == 2) {
    return v128.shuffle<i16>(eight, eight, 4, 4, 5, 5, 6, 6, 7, 7);
  }
  return i32x4.extend_high_i16x8_s(eight);
}

/** The bias of one panel in eight floats at `to`, zeros past `columns`. */
export function panelBias(to: usize, bias: usize, columns: i32): void {
  for (let c = 0; c < 8; c++) {
    store<f32>(to + (<usize>c << 2), c < columns ? load<f32>(bias + (<usize>c << 2)) : 0);
  }
}

/** `out = [low high] + bias + residual` for the first `columns` of eight; 0: no bias, no residual. */
export function storeRow(
  out: usize,
  low: v128,
  high: v128,
  bias: usize,
  residual: usize,
  columns: i32,
  scratch: usize,
): void {
  if (bias) {
    low = f32x4.add(low, v128.load(bias));
    high = f32x4.add(high, v128.load(bias, 16));
  }
  if (columns == 8) {
    if (residual) {
      low = f32x4.add(low, v128.load(residual));
      high = f32x4.add(high, v128.load(residual, 16));
    }
    v128.store(out, low);
    v128.store(out, high, 16);
    return;
  }
  v128.store(scratch, low, SPILL);
  v128.store(scratch, high, SPILL + 16);
  for (let c = 0; c < columns; c++) {
    const at = <usize>c << 2;
    let y = load<f32>(scratch + at, SPILL);
    if (residual) y += load<f32>(residual + at);
    store<f32>(out + at, y);
  }
}
