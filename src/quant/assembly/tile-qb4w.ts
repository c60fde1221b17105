// Tiles of int8 activations times 4-bit weights `D (s q + m)`: integers s and m a group, D for 128 inputs.
// All that lies within a run of at most 128 inputs is added up in integers: the 16-bit sums of 32 inputs
// are multiplied by s where they are widened, which costs no instruction more than widening them.
// The order of f32 operations is the twin's (kernels/gemm.ts): results are equal bit for bit. Masks come
// from memory because V8 rebuilds vector constants at every use.
// Both tiles take: out and residual (0: none) at their first element, `n` floats a row; the tile's rows
// and columns to store; spread activations, pairs of sums (`pairs` a run, pairSums of activations.ts) and
// scales of the tile's rows; the panel's weights, scales and bias (0: none); the scratch of epilogue.ts.
// `Dot` is i32 or i16, the relaxed dot that is fast here (dot.ts). Each has functions of its own: with both
// loops in one V8 runs out of registers, and one row of groups of 32 takes 1.2 times as long.
import { pairDot, pairProducts, scaled } from './dot';
import { MASK, bfloats, highScales, lowScales, storeRow } from './epilogue';

/**
 * Four rows by eight columns; the first `rows` (1..4) are stored. The panel's scales were decoded for all
 * rows of a block (decodePanel of gemm.ts): `superScales` f32 [128 inputs][8], `scales` i16 pairs or i32
 * [32 inputs][8].
 */
export function tile4Qb4w<Dot>(
  out: usize,
  n: i32,
  rows: i32,
  columns: i32,
  acts: usize,
  sums: usize,
  rowSums: usize,
  pairs: i32,
  actScales: usize,
  actGroups: i32,
  weights: usize,
  superScales: usize,
  scales: usize,
  mins: usize,
  bias: usize,
  residual: usize,
  scratch: usize,
  kp: i32,
  run: i32,
  actGroup: i32,
  pairShift: i32,
): void {
  const nibble = v128.load(scratch, MASK);
  const grouped = actGroups > 1;
  let actsLeft = actGroup;
  // Rows past the last read sums and scales of row 0: they are computed and not stored.
  const s1 = rows > 1 ? rowSums : 0;
  const s2 = rows > 2 ? s1 << 1 : 0;
  const s3 = rows > 3 ? s1 * 3 : 0;
  const g1 = rows > 1 ? <usize>actGroups << 2 : 0;
  const g2 = rows > 2 ? g1 << 1 : 0;
  const g3 = rows > 3 ? g1 * 3 : 0;
  let y00 = f32x4.splat(0);
  let y01 = y00;
  let y10 = y00;
  let y11 = y00;
  let y20 = y00;
  let y21 = y00;
  let y30 = y00;
  let y31 = y00;
  for (let start = 0; start < kp; start += run) {
    let a00 = i32x4.splat(0);
    let a01 = a00;
    let a10 = a00;
    let a11 = a00;
    let a20 = a00;
    let a21 = a00;
    let a30 = a00;
    let a31 = a00;
    const end = weights + (<usize>min<i32>(run, kp - start) << 2);
    while (weights < end) {
      // Sums over 32 inputs: of 16 bits, |sum| <= 8 * 2 * 127 * 15 = 30,480, or of 32.
      let b00 = i32x4.splat(0);
      let b01 = b00;
      let b10 = b00;
      let b11 = b00;
      let b20 = b00;
      let b21 = b00;
      let b30 = b00;
      let b31 = b00;
      const block = weights + 128;
      if (!ASC_FEATURE_RELAXED_SIMD) {
        for (; weights < block; weights += 32) {
          // Nibbles of the i16 lanes: 0 and 2 are even and odd inputs of the first quad, 1 and 3 of
          // the second.
          const p0 = v128.load(weights);
          const p1 = v128.load(weights, 16);
          let w0 = v128.and(p0, nibble);
          let w1 = v128.and(p1, nibble);
          let x = v128.load(acts);
          b00 = i32x4.add(b00, i32x4.dot_i16x8_s(x, w0));
          b01 = i32x4.add(b01, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 16);
          b10 = i32x4.add(b10, i32x4.dot_i16x8_s(x, w0));
          b11 = i32x4.add(b11, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 32);
          b20 = i32x4.add(b20, i32x4.dot_i16x8_s(x, w0));
          b21 = i32x4.add(b21, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 48);
          b30 = i32x4.add(b30, i32x4.dot_i16x8_s(x, w0));
          b31 = i32x4.add(b31, i32x4.dot_i16x8_s(x, w1));
          w0 = v128.and(i16x8.shr_u(p0, 8), nibble);
          w1 = v128.and(i16x8.shr_u(p1, 8), nibble);
          x = v128.load(acts, 64);
          b00 = i32x4.add(b00, i32x4.dot_i16x8_s(x, w0));
          b01 = i32x4.add(b01, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 80);
          b10 = i32x4.add(b10, i32x4.dot_i16x8_s(x, w0));
          b11 = i32x4.add(b11, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 96);
          b20 = i32x4.add(b20, i32x4.dot_i16x8_s(x, w0));
          b21 = i32x4.add(b21, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 112);
          b30 = i32x4.add(b30, i32x4.dot_i16x8_s(x, w0));
          b31 = i32x4.add(b31, i32x4.dot_i16x8_s(x, w1));
          // Never taken: keeps the optimizer from holding all eight unpacked vectors at once.
          if (!acts) break;
          w0 = v128.and(i16x8.shr_u(p0, 4), nibble);
          w1 = v128.and(i16x8.shr_u(p1, 4), nibble);
          x = v128.load(acts, 128);
          b00 = i32x4.add(b00, i32x4.dot_i16x8_s(x, w0));
          b01 = i32x4.add(b01, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 144);
          b10 = i32x4.add(b10, i32x4.dot_i16x8_s(x, w0));
          b11 = i32x4.add(b11, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 160);
          b20 = i32x4.add(b20, i32x4.dot_i16x8_s(x, w0));
          b21 = i32x4.add(b21, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 176);
          b30 = i32x4.add(b30, i32x4.dot_i16x8_s(x, w0));
          b31 = i32x4.add(b31, i32x4.dot_i16x8_s(x, w1));
          w0 = i16x8.shr_u(p0, 12);
          w1 = i16x8.shr_u(p1, 12);
          x = v128.load(acts, 192);
          b00 = i32x4.add(b00, i32x4.dot_i16x8_s(x, w0));
          b01 = i32x4.add(b01, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 208);
          b10 = i32x4.add(b10, i32x4.dot_i16x8_s(x, w0));
          b11 = i32x4.add(b11, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 224);
          b20 = i32x4.add(b20, i32x4.dot_i16x8_s(x, w0));
          b21 = i32x4.add(b21, i32x4.dot_i16x8_s(x, w1));
          x = v128.load(acts, 240);
          b30 = i32x4.add(b30, i32x4.dot_i16x8_s(x, w0));
          b31 = i32x4.add(b31, i32x4.dot_i16x8_s(x, w1));
          acts += 256;
        }
      } else if (sizeof<Dot>() == 4) {
        for (; weights < block; weights += 32) {
          const p0 = v128.load(weights);
          const p1 = v128.load(weights, 16);
          let w0 = v128.and(p0, nibble);
          let w1 = v128.and(p1, nibble);
          let x = v128.load(acts);
          b00 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b00);
          b01 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b01);
          x = v128.load(acts, 16);
          b10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b10);
          b11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b11);
          x = v128.load(acts, 32);
          b20 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b20);
          b21 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b21);
          x = v128.load(acts, 48);
          b30 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b30);
          b31 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b31);
          w0 = v128.and(i16x8.shr_u(p0, 4), nibble);
          w1 = v128.and(i16x8.shr_u(p1, 4), nibble);
          x = v128.load(acts, 64);
          b00 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b00);
          b01 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b01);
          x = v128.load(acts, 80);
          b10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b10);
          b11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b11);
          x = v128.load(acts, 96);
          b20 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b20);
          b21 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b21);
          x = v128.load(acts, 112);
          b30 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, b30);
          b31 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, b31);
          acts += 128;
        }
      } else {
        // Two records a turn are 1.01 to 1.04 times as fast as one; four, with no loop, 0.93.
        for (; weights < block; weights += 64) {
          let p0 = v128.load(weights);
          let p1 = v128.load(weights, 16);
          let w0 = v128.and(p0, nibble);
          let w1 = v128.and(p1, nibble);
          let x = v128.load(acts);
          b00 = pairDot(x, w0, b00);
          b01 = pairDot(x, w1, b01);
          x = v128.load(acts, 16);
          b10 = pairDot(x, w0, b10);
          b11 = pairDot(x, w1, b11);
          x = v128.load(acts, 32);
          b20 = pairDot(x, w0, b20);
          b21 = pairDot(x, w1, b21);
          x = v128.load(acts, 48);
          b30 = pairDot(x, w0, b30);
          b31 = pairDot(x, w1, b31);
          w0 = v128.and(i16x8.shr_u(p0, 4), nibble);
          w1 = v128.and(i16x8.shr_u(p1, 4), nibble);
          x = v128.load(acts, 64);
          b00 = pairDot(x, w0, b00);
          b01 = pairDot(x, w1, b01);
          x = v128.load(acts, 80);
          b10 = pairDot(x, w0, b10);
          b11 = pairDot(x, w1, b11);
          x = v128.load(acts, 96);
          b20 = pairDot(x, w0, b20);
          b21 = pairDot(x, w1, b21);
          x = v128.load(acts, 112);
          b30 = pairDot(x, w0, b30);
          b31 = pairDot(x, w1, b31);
          // Never taken: keeps the optimizer from holding eight unpacked vectors at once.
          if (!acts) break;
          p0 = v128.load(weights, 32);
          p1 = v128.load(weights, 48);
          w0 = v128.and(p0, nibble);
          w1 = v128.and(p1, nibble);
          x = v128.load(acts, 128);
          b00 = pairDot(x, w0, b00);
          b01 = pairDot(x, w1, b01);
          x = v128.load(acts, 144);
          b10 = pairDot(x, w0, b10);
          b11 = pairDot(x, w1, b11);
          x = v128.load(acts, 160);
          b20 = pairDot(x, w0, b20);
          b21 = pairDot(x, w1, b21);
          x = v128.load(acts, 176);
          b30 = pairDot(x, w0, b30);
          b31 = pairDot(x, w1, b31);
          w0 = v128.and(i16x8.shr_u(p0, 4), nibble);
          w1 = v128.and(i16x8.shr_u(p1, 4), nibble);
          x = v128.load(acts, 192);
          b00 = pairDot(x, w0, b00);
          b01 = pairDot(x, w1, b01);
          x = v128.load(acts, 208);
          b10 = pairDot(x, w0, b10);
          b11 = pairDot(x, w1, b11);
          x = v128.load(acts, 224);
          b20 = pairDot(x, w0, b20);
          b21 = pairDot(x, w1, b21);
          x = v128.load(acts, 240);
          b30 = pairDot(x, w0, b30);
          b31 = pairDot(x, w1, b31);
          acts += 256;
        }
      }
      const low = v128.load(scales);
      const high = v128.load(scales, 16);
      a00 = i32x4.add(a00, scaled<Dot>(b00, low));
      a01 = i32x4.add(a01, scaled<Dot>(b01, high));
      a10 = i32x4.add(a10, scaled<Dot>(b10, low));
      a11 = i32x4.add(a11, scaled<Dot>(b11, high));
      a20 = i32x4.add(a20, scaled<Dot>(b20, low));
      a21 = i32x4.add(a21, scaled<Dot>(b21, high));
      a30 = i32x4.add(a30, scaled<Dot>(b30, low));
      a31 = i32x4.add(a31, scaled<Dot>(b31, high));
      scales += 32;
    }
    let at = mins + (<usize>(start >> pairShift) << 5);
    for (let p = 0; p < pairs; p++) {
      const low = v128.load(at);
      const high = v128.load(at, 16);
      let sum = v128.load32_splat(sums);
      a00 = i32x4.add(a00, i32x4.dot_i16x8_s(sum, low));
      a01 = i32x4.add(a01, i32x4.dot_i16x8_s(sum, high));
      sum = v128.load32_splat(sums + s1);
      a10 = i32x4.add(a10, i32x4.dot_i16x8_s(sum, low));
      a11 = i32x4.add(a11, i32x4.dot_i16x8_s(sum, high));
      sum = v128.load32_splat(sums + s2);
      a20 = i32x4.add(a20, i32x4.dot_i16x8_s(sum, low));
      a21 = i32x4.add(a21, i32x4.dot_i16x8_s(sum, high));
      sum = v128.load32_splat(sums + s3);
      a30 = i32x4.add(a30, i32x4.dot_i16x8_s(sum, low));
      a31 = i32x4.add(a31, i32x4.dot_i16x8_s(sum, high));
      sums += 4;
      at += 32;
    }
    const factors = superScales + (<usize>(start >> 7) << 5);
    const f0 = v128.load(factors);
    const f1 = v128.load(factors, 16);
    let t00 = f32x4.mul(f32x4.convert_i32x4_s(a00), f0);
    let t01 = f32x4.mul(f32x4.convert_i32x4_s(a01), f1);
    let t10 = f32x4.mul(f32x4.convert_i32x4_s(a10), f0);
    let t11 = f32x4.mul(f32x4.convert_i32x4_s(a11), f1);
    let t20 = f32x4.mul(f32x4.convert_i32x4_s(a20), f0);
    let t21 = f32x4.mul(f32x4.convert_i32x4_s(a21), f1);
    let t30 = f32x4.mul(f32x4.convert_i32x4_s(a30), f0);
    let t31 = f32x4.mul(f32x4.convert_i32x4_s(a31), f1);
    if (grouped) {
      let s = v128.load32_splat(actScales);
      t00 = f32x4.mul(t00, s);
      t01 = f32x4.mul(t01, s);
      s = v128.load32_splat(actScales + g1);
      t10 = f32x4.mul(t10, s);
      t11 = f32x4.mul(t11, s);
      s = v128.load32_splat(actScales + g2);
      t20 = f32x4.mul(t20, s);
      t21 = f32x4.mul(t21, s);
      s = v128.load32_splat(actScales + g3);
      t30 = f32x4.mul(t30, s);
      t31 = f32x4.mul(t31, s);
      actsLeft -= run;
      if (!actsLeft) {
        actsLeft = actGroup;
        actScales += 4;
      }
    }
    y00 = f32x4.add(y00, t00);
    y01 = f32x4.add(y01, t01);
    y10 = f32x4.add(y10, t10);
    y11 = f32x4.add(y11, t11);
    y20 = f32x4.add(y20, t20);
    y21 = f32x4.add(y21, t21);
    y30 = f32x4.add(y30, t30);
    y31 = f32x4.add(y31, t31);
  }
  if (!grouped) {
    let s = v128.load32_splat(actScales);
    y00 = f32x4.mul(y00, s);
    y01 = f32x4.mul(y01, s);
    s = v128.load32_splat(actScales + g1);
    y10 = f32x4.mul(y10, s);
    y11 = f32x4.mul(y11, s);
    s = v128.load32_splat(actScales + g2);
    y20 = f32x4.mul(y20, s);
    y21 = f32x4.mul(y21, s);
    s = v128.load32_splat(actScales + g3);
    y30 = f32x4.mul(y30, s);
    y31 = f32x4.mul(y31, s);
  }
  const step = <usize>n << 2;
  const down = residual ? step : 0;
  storeRow(out, y00, y01, bias, residual, columns, scratch);
  if (rows > 1) storeRow(out + step, y10, y11, bias, residual + down, columns, scratch);
  if (rows > 2) storeRow(out + step * 2, y20, y21, bias, residual + down * 2, columns, scratch);
  if (rows > 3) storeRow(out + step * 3, y30, y31, bias, residual + down * 3, columns, scratch);
}

/**
 * One row by eight columns: generation, where the weights' bandwidth is the limit. Nobody else reads
 * this panel's scales, so they come as they are packed and are decoded here.
 */
export function tile1Qb4w<Dot>(
  out: usize,
  columns: i32,
  acts: usize,
  sums: usize,
  pairs: i32,
  actScales: usize,
  actGroups: i32,
  weights: usize,
  superScales: usize,
  scales: usize,
  mins: usize,
  bias: usize,
  residual: usize,
  scratch: usize,
  kp: i32,
  run: i32,
  actGroup: i32,
  weightGroup: i32,
  pairShift: i32,
): void {
  const nibble = v128.load(scratch, MASK);
  const grouped = actGroups > 1;
  let actsLeft = actGroup;
  let groupLeft = weightGroup;
  let y0 = f32x4.splat(0);
  let y1 = y0;
  for (let start = 0; start < kp; start += run) {
    let a0 = i32x4.splat(0);
    let a1 = a0;
    const end = weights + (<usize>min<i32>(run, kp - start) << 2);
    do {
      // As in the tile of four rows. Two chains of sums a column where a dot waits for the one before it.
      let c0 = i32x4.splat(0);
      let c1 = c0;
      if (!ASC_FEATURE_RELAXED_SIMD) {
        const block = weights + 128;
        let d0 = c0;
        let d1 = c0;
        for (; weights < block; weights += 32) {
          const p0 = v128.load(weights);
          const p1 = v128.load(weights, 16);
          let x = v128.load(acts);
          c0 = i32x4.add(c0, i32x4.dot_i16x8_s(x, v128.and(p0, nibble)));
          c1 = i32x4.add(c1, i32x4.dot_i16x8_s(x, v128.and(p1, nibble)));
          x = v128.load(acts, 16);
          d0 = i32x4.add(d0, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p0, 8), nibble)));
          d1 = i32x4.add(d1, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p1, 8), nibble)));
          x = v128.load(acts, 32);
          c0 = i32x4.add(c0, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p0, 4), nibble)));
          c1 = i32x4.add(c1, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p1, 4), nibble)));
          x = v128.load(acts, 48);
          d0 = i32x4.add(d0, i32x4.dot_i16x8_s(x, i16x8.shr_u(p0, 12)));
          d1 = i32x4.add(d1, i32x4.dot_i16x8_s(x, i16x8.shr_u(p1, 12)));
          acts += 64;
        }
        c0 = i32x4.add(c0, d0);
        c1 = i32x4.add(c1, d1);
      } else if (sizeof<Dot>() == 4) {
        const block = weights + 128;
        let d0 = c0;
        let d1 = c0;
        for (; weights < block; weights += 32) {
          const p0 = v128.load(weights);
          const p1 = v128.load(weights, 16);
          let x = v128.load(acts);
          c0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p0, nibble), c0);
          c1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p1, nibble), c1);
          x = v128.load(acts, 16);
          d0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p0, 4), nibble), d0);
          d1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p1, 4), nibble), d1);
          acts += 32;
        }
        c0 = i32x4.add(c0, d0);
        c1 = i32x4.add(c1, d1);
      } else {
        let p0 = v128.load(weights);
        let p1 = v128.load(weights, 16);
        let x = v128.load(acts);
        c0 = pairProducts(x, v128.and(p0, nibble));
        c1 = pairProducts(x, v128.and(p1, nibble));
        x = v128.load(acts, 16);
        c0 = pairDot(x, v128.and(i16x8.shr_u(p0, 4), nibble), c0);
        c1 = pairDot(x, v128.and(i16x8.shr_u(p1, 4), nibble), c1);
        p0 = v128.load(weights, 32);
        p1 = v128.load(weights, 48);
        x = v128.load(acts, 32);
        c0 = pairDot(x, v128.and(p0, nibble), c0);
        c1 = pairDot(x, v128.and(p1, nibble), c1);
        x = v128.load(acts, 48);
        c0 = pairDot(x, v128.and(i16x8.shr_u(p0, 4), nibble), c0);
        c1 = pairDot(x, v128.and(i16x8.shr_u(p1, 4), nibble), c1);
        // Never taken: keeps the optimizer from loading all sixteen vectors at once.
        if (!acts) break;
        p0 = v128.load(weights, 64);
        p1 = v128.load(weights, 80);
        x = v128.load(acts, 64);
        c0 = pairDot(x, v128.and(p0, nibble), c0);
        c1 = pairDot(x, v128.and(p1, nibble), c1);
        x = v128.load(acts, 80);
        c0 = pairDot(x, v128.and(i16x8.shr_u(p0, 4), nibble), c0);
        c1 = pairDot(x, v128.and(i16x8.shr_u(p1, 4), nibble), c1);
        p0 = v128.load(weights, 96);
        p1 = v128.load(weights, 112);
        x = v128.load(acts, 96);
        c0 = pairDot(x, v128.and(p0, nibble), c0);
        c1 = pairDot(x, v128.and(p1, nibble), c1);
        x = v128.load(acts, 112);
        c0 = pairDot(x, v128.and(i16x8.shr_u(p0, 4), nibble), c0);
        c1 = pairDot(x, v128.and(i16x8.shr_u(p1, 4), nibble), c1);
        weights += 128;
        acts += 128;
      }
      const eight = v128.load8x8_s(scales);
      a0 = i32x4.add(a0, scaled<Dot>(c0, lowScales<Dot>(eight)));
      a1 = i32x4.add(a1, scaled<Dot>(c1, highScales<Dot>(eight)));
      groupLeft -= 32;
      if (!groupLeft) {
        groupLeft = weightGroup;
        scales += 8;
      }
    } while (weights < end);
    let at = mins + (<usize>(start >> pairShift) << 5);
    for (let p = 0; p < pairs; p++) {
      const sum = v128.load32_splat(sums);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(sum, v128.load(at)));
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(sum, v128.load(at, 16)));
      sums += 4;
      at += 32;
    }
    const factors = superScales + (<usize>(start >> 7) << 4);
    let t0 = f32x4.mul(f32x4.convert_i32x4_s(a0), bfloats(factors));
    let t1 = f32x4.mul(f32x4.convert_i32x4_s(a1), bfloats(factors + 8));
    if (grouped) {
      const s = v128.load32_splat(actScales);
      t0 = f32x4.mul(t0, s);
      t1 = f32x4.mul(t1, s);
      actsLeft -= run;
      if (!actsLeft) {
        actsLeft = actGroup;
        actScales += 4;
      }
    }
    y0 = f32x4.add(y0, t0);
    y1 = f32x4.add(y1, t1);
  }
  if (!grouped) {
    const s = v128.load32_splat(actScales);
    y0 = f32x4.mul(y0, s);
    y1 = f32x4.mul(y1, s);
  }
  storeRow(out, y0, y1, bias, residual, columns, scratch);
}
