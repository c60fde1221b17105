// What the gemm kernels read instead of the quantized rows: four rows interleaved, so that one
// pointer walks them, and without relaxed SIMD widened to i16, so that no extension is left in the
// inner loop. One record covers four inputs (a quad) of four rows:
//   relaxed: [row 0..3][4] i8, 16 bytes
//   simd128: [row 0..3][a0 a2 a1 a3] i16, 32 bytes. Weights are split into even and odd bytes by a
//            mask and a shift, so their dot wants the activations of equal parity side by side.

/** Rows whose activations are prepared at a time: they stay in L2 while all panels pass. */
export const ROW_BLOCK: i32 = 64;

/** Bytes of one quad of one row. */
export function quadBytes(): i32 {
  if (ASC_FEATURE_RELAXED_SIMD) return 4;
  return 8;
}

/** Four quads of one row as two vectors of [a0 a2 a1 a3] quads: even and odd parts interleaved. */
function widenLow(even: v128, odd: v128): v128 {
  return i8x16.shuffle(even, odd, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
}
function widenHigh(even: v128, odd: v128): v128 {
  return i8x16.shuffle(even, odd, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
}

/** One row, not interleaved: for the one-row kernel of simd128. */
export function widenRow(to: usize, data: usize, kp: i32): void {
  for (let i = 0; i < kp; i += 16) {
    const v = v128.load(data + i);
    const even = i16x8.shr_s(i16x8.shl(v, 8), 8);
    const odd = i16x8.shr_s(v, 8);
    v128.store(to, widenLow(even, odd));
    v128.store(to, widenHigh(even, odd), 16);
    to += 32;
  }
}

function widenInto(to: usize, v: v128): void {
  const even = i16x8.shr_s(i16x8.shl(v, 8), 8);
  const odd = i16x8.shr_s(v, 8);
  const low = widenLow(even, odd);
  const high = widenHigh(even, odd);
  v128.store64_lane(to, low, 0);
  v128.store64_lane(to, low, 1, 32);
  v128.store64_lane(to, high, 0, 64);
  v128.store64_lane(to, high, 1, 96);
}

/** Four rows interleaved; rows from `rows` on are zeros. */
export function interleave(to: usize, data: usize, rows: i32, kp: i32): void {
  const zero = i32x4.splat(0);
  const d1 = data + kp;
  const d2 = d1 + kp;
  const d3 = d2 + kp;
  for (let i = 0; i < kp; i += 16) {
    const r0 = v128.load(data + i);
    const r1 = rows > 1 ? v128.load(d1 + i) : zero;
    const r2 = rows > 2 ? v128.load(d2 + i) : zero;
    const r3 = rows > 3 ? v128.load(d3 + i) : zero;
    if (ASC_FEATURE_RELAXED_SIMD) {
      const a = i8x16.shuffle(r0, r1, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
      const b = i8x16.shuffle(r2, r3, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
      const c = i8x16.shuffle(r0, r1, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
      const d = i8x16.shuffle(r2, r3, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
      v128.store(to, i64x2.shuffle(a, b, 0, 2));
      v128.store(to, i64x2.shuffle(a, b, 1, 3), 16);
      v128.store(to, i64x2.shuffle(c, d, 0, 2), 32);
      v128.store(to, i64x2.shuffle(c, d, 1, 3), 48);
      to += 64;
    } else {
      widenInto(to, r0);
      widenInto(to + 8, r1);
      widenInto(to + 16, r2);
      widenInto(to + 24, r3);
      to += 128;
    }
  }
}

/** Sum of one row over the run of `step` blocks that starts at block b. */
function sumOfRun(sums: usize, b: i32, step: i32, blocks: i32): i32 {
  const end = min<i32>(blocks, b + step);
  let sum = 0;
  for (let i = b; i < end; i++) sum += load<i32>(sums + (<usize>i << 2));
  return sum;
}

/** -64 times the sums of one row over runs of `run` inputs, i32: what the weights' +64 added. */
export function zeroPointSums(to: usize, sums: usize, kp: i32, run: i32): void {
  const blocks = kp >> 5;
  const step = run >> 5;
  for (let b = 0; b < blocks; b += step) {
    store<i32>(to, sumOfRun(sums, b, step, blocks) * -64);
    to += 4;
  }
}

/** Sums of one row over runs of `run` inputs, f32: they meet the weights' minima. */
export function floatSums(to: usize, sums: usize, kp: i32, run: i32): void {
  const blocks = kp >> 5;
  const step = run >> 5;
  for (let b = 0; b < blocks; b += step) {
    store<f32>(to, <f32>sumOfRun(sums, b, step, blocks));
    to += 4;
  }
}
