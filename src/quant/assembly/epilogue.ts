// What is around the products of a tile: scales decoded, bias, residual, and stores that stop at the last
// column.

/** Where in the scratch the tiles find what the gemm put there (bytes). */
export const SPILL: usize = 0;
export const BIAS: usize = 32;
export const MASK: usize = 64;
export const ONES: usize = 80;
export const HALF_BITS: usize = 96;
export const HALF_REBASE: usize = 112;
export const DECODED: usize = 128;

/** Four halves to f32: sign extended, moved to f32's place, rebased by 2^112; exact. */
export function halves(from: usize, bits: v128, rebase: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(v128.load16x4_s(from), 13), bits), rebase);
}

/** f32(dot) * scale + f32(row sum) * min; scale and min are 32 bytes apart. */
export function term(dot: v128, rowSum: v128, scales: usize): v128 {
  const scaled = f32x4.mul(f32x4.convert_i32x4_s(dot), v128.load(scales));
  return f32x4.add(scaled, f32x4.mul(rowSum, v128.load(scales, 32)));
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
