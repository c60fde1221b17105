// Tiles of int8 activations times 4-bit weights `scale * q + min` in groups. The order of f32
// operations is the twin's (kernels/gemm.ts): results are equal bit for bit. Masks come from memory
// because V8 rebuilds vector constants at every use.
// Both tiles take: out and residual (0: none) at their first element, `n` floats a row; the tile's rows
// and columns to store; spread activations, sums and scales of the tile's rows; the panel's weights,
// scales and bias (0: none); the scratch of epilogue.ts. `run` inputs share both scales.
// `Dot` is i32 or i16, the relaxed dot that is fast here (dot.ts). Each has functions of its own: with both
// loops in one V8 runs out of registers, and one row of groups of 32 takes 1.2 times as long.
import { pairDot } from './dot';
import { HALF_BITS, HALF_REBASE, MASK, ONES, halves, storeRow, term } from './epilogue';

/** Four rows by eight columns; the first `rows` (1..4) are stored. */
export function tile4Qb4w<Dot>(
  out: usize,
  n: i32,
  rows: i32,
  columns: i32,
  acts: usize,
  runSum: usize,
  runs: i32,
  actScales: usize,
  actGroups: i32,
  weights: usize,
  scales: usize,
  bias: usize,
  residual: usize,
  scratch: usize,
  kp: i32,
  run: i32,
  actGroup: i32,
  weightGroup: i32,
): void {
  const nibble = v128.load(scratch, MASK);
  const ones = v128.load(scratch, ONES);
  const grouped = actGroups > 1;
  let weightsLeft = weightGroup;
  let actsLeft = actGroup;
  // Rows past the last read sums and scales of row 0: they are computed and not stored.
  const s1 = rows > 1 ? <usize>runs << 2 : 0;
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
    if (!ASC_FEATURE_RELAXED_SIMD) {
      for (; weights < end; weights += 32) {
        // Nibbles of the i16 lanes: 0 and 2 are even and odd inputs of the first quad, 1 and 3 of
        // the second.
        const p0 = v128.load(weights);
        const p1 = v128.load(weights, 16);
        let w0 = v128.and(p0, nibble);
        let w1 = v128.and(p1, nibble);
        let x = v128.load(acts);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 16);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 32);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 48);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        w0 = v128.and(i16x8.shr_u(p0, 8), nibble);
        w1 = v128.and(i16x8.shr_u(p1, 8), nibble);
        x = v128.load(acts, 64);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 80);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 96);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 112);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        // Never taken: keeps the optimizer from holding all eight unpacked vectors at once.
        if (!acts) break;
        w0 = v128.and(i16x8.shr_u(p0, 4), nibble);
        w1 = v128.and(i16x8.shr_u(p1, 4), nibble);
        x = v128.load(acts, 128);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 144);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 160);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 176);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        w0 = i16x8.shr_u(p0, 12);
        w1 = i16x8.shr_u(p1, 12);
        x = v128.load(acts, 192);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 208);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 224);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load(acts, 240);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        acts += 256;
      }
    } else if (sizeof<Dot>() == 4) {
      for (; weights < end; weights += 32) {
        const p0 = v128.load(weights);
        const p1 = v128.load(weights, 16);
        let w0 = v128.and(p0, nibble);
        let w1 = v128.and(p1, nibble);
        let x = v128.load(acts);
        a00 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a00);
        a01 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a01);
        x = v128.load(acts, 16);
        a10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a10);
        a11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a11);
        x = v128.load(acts, 32);
        a20 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a20);
        a21 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a21);
        x = v128.load(acts, 48);
        a30 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a30);
        a31 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a31);
        w0 = v128.and(i16x8.shr_u(p0, 4), nibble);
        w1 = v128.and(i16x8.shr_u(p1, 4), nibble);
        x = v128.load(acts, 64);
        a00 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a00);
        a01 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a01);
        x = v128.load(acts, 80);
        a10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a10);
        a11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a11);
        x = v128.load(acts, 96);
        a20 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a20);
        a21 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a21);
        x = v128.load(acts, 112);
        a30 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a30);
        a31 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a31);
        acts += 128;
      }
    } else {
      while (weights < end) {
        // 32 inputs: |sum| <= 8 * 2 * 127 * 15 = 30,480 fits i16.
        let b00 = i16x8.splat(0);
        let b01 = b00;
        let b10 = b00;
        let b11 = b00;
        let b20 = b00;
        let b21 = b00;
        let b30 = b00;
        let b31 = b00;
        const block = weights + 128;
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
        if (run == 32) {
          a00 = i32x4.dot_i16x8_s(b00, ones);
          a01 = i32x4.dot_i16x8_s(b01, ones);
          a10 = i32x4.dot_i16x8_s(b10, ones);
          a11 = i32x4.dot_i16x8_s(b11, ones);
          a20 = i32x4.dot_i16x8_s(b20, ones);
          a21 = i32x4.dot_i16x8_s(b21, ones);
          a30 = i32x4.dot_i16x8_s(b30, ones);
          a31 = i32x4.dot_i16x8_s(b31, ones);
          break;
        }
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(b00, ones));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(b01, ones));
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(b10, ones));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(b11, ones));
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(b20, ones));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(b21, ones));
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(b30, ones));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(b31, ones));
      }
    }
    let rowSum = v128.load32_splat(runSum);
    let t00 = term(a00, rowSum, scales);
    let t01 = term(a01, rowSum, scales + 16);
    rowSum = v128.load32_splat(runSum + s1);
    let t10 = term(a10, rowSum, scales);
    let t11 = term(a11, rowSum, scales + 16);
    rowSum = v128.load32_splat(runSum + s2);
    let t20 = term(a20, rowSum, scales);
    let t21 = term(a21, rowSum, scales + 16);
    rowSum = v128.load32_splat(runSum + s3);
    let t30 = term(a30, rowSum, scales);
    let t31 = term(a31, rowSum, scales + 16);
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
    weightsLeft -= run;
    if (!weightsLeft) {
      weightsLeft = weightGroup;
      scales += 64;
    }
    runSum += 4;
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
 * this panel's scales and mins, so they come as halves and are decoded here.
 */
export function tile1Qb4w<Dot>(
  out: usize,
  n: i32,
  rows: i32,
  columns: i32,
  acts: usize,
  runSum: usize,
  runs: i32,
  actScales: usize,
  actGroups: i32,
  weights: usize,
  scales: usize,
  mins: usize,
  bias: usize,
  residual: usize,
  scratch: usize,
  kp: i32,
  run: i32,
  actGroup: i32,
  weightGroup: i32,
): void {
  const nibble = v128.load(scratch, MASK);
  const ones = v128.load(scratch, ONES);
  const bits = v128.load(scratch, HALF_BITS);
  const rebase = v128.load(scratch, HALF_REBASE);
  const grouped = actGroups > 1;
  let weightsLeft = weightGroup;
  let actsLeft = actGroup;
  let y0 = f32x4.splat(0);
  let y1 = y0;
  for (let start = 0; start < kp; start += run) {
    // Several chains of sums: a dot waits for the one before it on its chain.
    let a0 = i32x4.splat(0);
    let a1 = a0;
    let b0 = a0;
    let b1 = a0;
    const end = weights + (<usize>min<i32>(run, kp - start) << 2);
    if (!ASC_FEATURE_RELAXED_SIMD) {
      for (; weights < end; weights += 32) {
        const p0 = v128.load(weights);
        const p1 = v128.load(weights, 16);
        let x = v128.load(acts);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, v128.and(p0, nibble)));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, v128.and(p1, nibble)));
        x = v128.load(acts, 16);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p0, 8), nibble)));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p1, 8), nibble)));
        x = v128.load(acts, 32);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p0, 4), nibble)));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p1, 4), nibble)));
        x = v128.load(acts, 48);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x, i16x8.shr_u(p0, 12)));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x, i16x8.shr_u(p1, 12)));
        acts += 64;
      }
    } else if (sizeof<Dot>() == 4) {
      for (; weights < end; weights += 32) {
        const p0 = v128.load(weights);
        const p1 = v128.load(weights, 16);
        let x = v128.load(acts);
        a0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p0, nibble), a0);
        a1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p1, nibble), a1);
        x = v128.load(acts, 16);
        b0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p0, 4), nibble), b0);
        b1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p1, 4), nibble), b1);
        acts += 32;
      }
    } else {
      do {
        // 32 inputs: |sum| <= 8 * 2 * 127 * 15 = 30,480 fits i16.
        const zero = i16x8.splat(0);
        let p0 = v128.load(weights);
        let p1 = v128.load(weights, 16);
        let x = v128.load(acts);
        let c0 = pairDot(x, v128.and(p0, nibble), zero);
        let c1 = pairDot(x, v128.and(p1, nibble), zero);
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
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(c0, ones));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(c1, ones));
        weights += 128;
        acts += 128;
      } while (weights < end);
    }
    a0 = i32x4.add(a0, b0);
    a1 = i32x4.add(a1, b1);
    const rowSum = v128.load32_splat(runSum);
    let t0 = f32x4.mul(f32x4.convert_i32x4_s(a0), halves(scales, bits, rebase));
    let t1 = f32x4.mul(f32x4.convert_i32x4_s(a1), halves(scales + 8, bits, rebase));
    t0 = f32x4.add(t0, f32x4.mul(rowSum, halves(mins, bits, rebase)));
    t1 = f32x4.add(t1, f32x4.mul(rowSum, halves(mins + 8, bits, rebase)));
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
    weightsLeft -= run;
    if (!weightsLeft) {
      weightsLeft = weightGroup;
      scales += 16;
      mins += 16;
    }
    runSum += 4;
  }
  if (!grouped) {
    const s = v128.load32_splat(actScales);
    y0 = f32x4.mul(y0, s);
    y1 = f32x4.mul(y1, s);
  }
  storeRow(out, y0, y1, bias, residual, columns, scratch);
}
