// Tiles of int8 activations times 7-bit weights stored at +64. The order of f32 operations is the
// twin's (kernels/gemm.ts): results are equal bit for bit. Masks come from memory because V8
// rebuilds vector constants at every use.
// Both tiles take: out and residual (0: none) at their first element, `n` floats a row; the tile's rows
// and columns to store; spread activations, sums and scales of the tile's rows; the panel's weights,
// scales and bias (0: none); the scratch of epilogue.ts. `run` inputs share both scales.
import { narrowDot, wideDot } from './dot';
import { ONES, MASK, storeRow } from './epilogue';

/** Four rows by eight columns; the first `rows` (1..4) are stored. */
export function tile4Qc8w(
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
  const even = v128.load(scratch, MASK);
  const ones = v128.load(scratch, ONES);
  const grouped = actGroups > 1;
  const groupedWeights = weightGroup < kp;
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
    let a00 = v128.load32_splat(runSum);
    let a01 = a00;
    let a10 = v128.load32_splat(runSum + s1);
    let a11 = a10;
    let a20 = v128.load32_splat(runSum + s2);
    let a21 = a20;
    let a30 = v128.load32_splat(runSum + s3);
    let a31 = a30;
    const end = weights + (<usize>min<i32>(run, kp - start) << 3);
    if (!ASC_FEATURE_RELAXED_SIMD) {
      for (; weights < end; weights += 32) {
        const w0 = v128.load(weights);
        const w1 = v128.load(weights, 16);
        const e0 = v128.and(w0, even);
        const e1 = v128.and(w1, even);
        let x = v128.load(acts);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, e0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, e1));
        x = v128.load(acts, 16);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, e0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, e1));
        x = v128.load(acts, 32);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, e0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, e1));
        x = v128.load(acts, 48);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, e0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, e1));
        const o0 = i16x8.shr_u(w0, 8);
        const o1 = i16x8.shr_u(w1, 8);
        x = v128.load(acts, 64);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, o0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, o1));
        x = v128.load(acts, 80);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, o0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, o1));
        x = v128.load(acts, 96);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, o0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, o1));
        x = v128.load(acts, 112);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, o0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, o1));
        acts += 128;
      }
    } else if (wideDot) {
      for (; weights < end; weights += 32) {
        const w0 = v128.load(weights);
        const w1 = v128.load(weights, 16);
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
        acts += 64;
      }
    } else {
      for (; weights < end; weights += 32) {
        const w0 = v128.load(weights);
        const w1 = v128.load(weights, 16);
        let x = v128.load(acts);
        a00 = narrowDot(x, w0, ones, a00);
        a01 = narrowDot(x, w1, ones, a01);
        x = v128.load(acts, 16);
        a10 = narrowDot(x, w0, ones, a10);
        a11 = narrowDot(x, w1, ones, a11);
        x = v128.load(acts, 32);
        a20 = narrowDot(x, w0, ones, a20);
        a21 = narrowDot(x, w1, ones, a21);
        x = v128.load(acts, 48);
        a30 = narrowDot(x, w0, ones, a30);
        a31 = narrowDot(x, w1, ones, a31);
        acts += 64;
      }
    }
    let t00 = f32x4.convert_i32x4_s(a00);
    let t01 = f32x4.convert_i32x4_s(a01);
    let t10 = f32x4.convert_i32x4_s(a10);
    let t11 = f32x4.convert_i32x4_s(a11);
    let t20 = f32x4.convert_i32x4_s(a20);
    let t21 = f32x4.convert_i32x4_s(a21);
    let t30 = f32x4.convert_i32x4_s(a30);
    let t31 = f32x4.convert_i32x4_s(a31);
    if (groupedWeights) {
      const w0 = v128.load(scales);
      const w1 = v128.load(scales, 16);
      t00 = f32x4.mul(t00, w0);
      t01 = f32x4.mul(t01, w1);
      t10 = f32x4.mul(t10, w0);
      t11 = f32x4.mul(t11, w1);
      t20 = f32x4.mul(t20, w0);
      t21 = f32x4.mul(t21, w1);
      t30 = f32x4.mul(t30, w0);
      t31 = f32x4.mul(t31, w1);
      weightsLeft -= run;
      if (!weightsLeft) {
        weightsLeft = weightGroup;
        scales += 32;
      }
    }
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
    runSum += 4;
  }
  if (!groupedWeights) {
    const w0 = v128.load(scales);
    const w1 = v128.load(scales, 16);
    y00 = f32x4.mul(y00, w0);
    y01 = f32x4.mul(y01, w1);
    y10 = f32x4.mul(y10, w0);
    y11 = f32x4.mul(y11, w1);
    y20 = f32x4.mul(y20, w0);
    y21 = f32x4.mul(y21, w1);
    y30 = f32x4.mul(y30, w0);
    y31 = f32x4.mul(y31, w1);
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

/** One row by eight columns: generation, where the weights' bandwidth is the limit. */
export function tile1Qc8w(
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
  const even = v128.load(scratch, MASK);
  const ones = v128.load(scratch, ONES);
  const grouped = actGroups > 1;
  const groupedWeights = weightGroup < kp;
  let weightsLeft = weightGroup;
  let actsLeft = actGroup;
  let y0 = f32x4.splat(0);
  let y1 = y0;
  for (let start = 0; start < kp; start += run) {
    // Eight chains of sums: a dot waits for the one before it on its chain.
    let a0 = v128.load32_splat(runSum);
    let a1 = a0;
    let b0 = i32x4.splat(0);
    let b1 = b0;
    let c0 = b0;
    let c1 = b0;
    let d0 = b0;
    let d1 = b0;
    const end = weights + (<usize>min<i32>(run, kp - start) << 3);
    if (!ASC_FEATURE_RELAXED_SIMD) {
      for (; weights < end; weights += 64) {
        let w0 = v128.load(weights);
        let w1 = v128.load(weights, 16);
        let x = v128.load(acts);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, v128.and(w0, even)));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, v128.and(w1, even)));
        x = v128.load(acts, 16);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x, i16x8.shr_u(w0, 8)));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x, i16x8.shr_u(w1, 8)));
        w0 = v128.load(weights, 32);
        w1 = v128.load(weights, 48);
        x = v128.load(acts, 32);
        c0 = i32x4.add(c0, i32x4.dot_i16x8_s(x, v128.and(w0, even)));
        c1 = i32x4.add(c1, i32x4.dot_i16x8_s(x, v128.and(w1, even)));
        x = v128.load(acts, 48);
        d0 = i32x4.add(d0, i32x4.dot_i16x8_s(x, i16x8.shr_u(w0, 8)));
        d1 = i32x4.add(d1, i32x4.dot_i16x8_s(x, i16x8.shr_u(w1, 8)));
        acts += 64;
      }
    } else if (wideDot) {
      for (; weights < end; weights += 128) {
        let x = v128.load(acts);
        a0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights), a0);
        a1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights, 16), a1);
        x = v128.load(acts, 16);
        b0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights, 32), b0);
        b1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights, 48), b1);
        x = v128.load(acts, 32);
        c0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights, 64), c0);
        c1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights, 80), c1);
        x = v128.load(acts, 48);
        d0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights, 96), d0);
        d1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.load(weights, 112), d1);
        acts += 64;
      }
    } else {
      for (; weights < end; weights += 128) {
        let x = v128.load(acts);
        a0 = narrowDot(x, v128.load(weights), ones, a0);
        a1 = narrowDot(x, v128.load(weights, 16), ones, a1);
        x = v128.load(acts, 16);
        b0 = narrowDot(x, v128.load(weights, 32), ones, b0);
        b1 = narrowDot(x, v128.load(weights, 48), ones, b1);
        x = v128.load(acts, 32);
        c0 = narrowDot(x, v128.load(weights, 64), ones, c0);
        c1 = narrowDot(x, v128.load(weights, 80), ones, c1);
        x = v128.load(acts, 48);
        d0 = narrowDot(x, v128.load(weights, 96), ones, d0);
        d1 = narrowDot(x, v128.load(weights, 112), ones, d1);
        acts += 64;
      }
    }
    a0 = i32x4.add(i32x4.add(a0, b0), i32x4.add(c0, d0));
    a1 = i32x4.add(i32x4.add(a1, b1), i32x4.add(c1, d1));
    let t0 = f32x4.convert_i32x4_s(a0);
    let t1 = f32x4.convert_i32x4_s(a1);
    if (groupedWeights) {
      t0 = f32x4.mul(t0, v128.load(scales));
      t1 = f32x4.mul(t1, v128.load(scales, 16));
      weightsLeft -= run;
      if (!weightsLeft) {
        weightsLeft = weightGroup;
        scales += 32;
      }
    }
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
    runSum += 4;
  }
  if (!groupedWeights) {
    y0 = f32x4.mul(y0, v128.load(scales));
    y1 = f32x4.mul(y1, v128.load(scales, 16));
  }
  if (!grouped) {
    const s = v128.load32_splat(actScales);
    y0 = f32x4.mul(y0, s);
    y1 = f32x4.mul(y1, s);
  }
  storeRow(out, y0, y1, bias, residual, columns, scratch);
}
