// int8 activations times 4-bit weights `scale * q + min` in groups, f32 out. The order of f32
// operations is the twin's (kernels/gemm.ts): results are equal bit for bit.
import { ROW_BLOCK, floatSums, interleave, quadBytes, widenRow } from './activations';
import { panelBias, storeRow } from './epilogue';

/**
 * Halves of one panel's scales and mins to f32: [groups][8 scales, 8 mins]. Done once for all rows
 * of a block, so that group scales cost a load in the tiles.
 */
function decodePanel(to: usize, scales: usize, mins: usize, groups: i32): void {
  for (let g = 0; g < groups; g++) {
    v128.store(to, halves(scales));
    v128.store(to, halves(scales + 8), 16);
    v128.store(to, halves(mins), 32);
    v128.store(to, halves(mins + 8), 48);
    scales += 16;
    mins += 16;
    to += 64;
  }
}

/** Four halves to f32: sign extended, moved to f32's place, rebased by 2^112; exact. */
function halves(from: usize): v128 {
  const moved = i32x4.shl(v128.load16x4_s(from), 13);
  return f32x4.mul(v128.and(moved, i32x4.splat(0x8fffe000)), i32x4.splat(0x77800000));
}

/** f32(dot) * scale + f32(row sum) * min, then * activation scale where rows have several. */
function term(dot: v128, rowSum: usize, scales: usize, grouped: bool, actScale: usize): v128 {
  const scaled = f32x4.mul(f32x4.convert_i32x4_s(dot), v128.load(scales));
  const t = f32x4.add(scaled, f32x4.mul(v128.load32_splat(rowSum), v128.load(scales, 32)));
  return grouped ? f32x4.mul(t, v128.load32_splat(actScale)) : t;
}

/** Four rows by eight columns. `rows` (1..4) of them are stored. */
function tile4(
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
  scratchScales: usize,
  bias: usize,
  residual: usize,
  spill: usize,
  kp: i32,
  run: i32,
  actGroup: i32,
  weightGroup: i32,
): void {
  const nibble = i8x16.splat(15);
  const nibble16 = i16x8.splat(15);
  const grouped = actGroups > 1;
  // Rows past the last have sums and scales of row 0: they are computed and not stored.
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
    for (; weights < end; weights += 32) {
      const p0 = v128.load(weights);
      const p1 = v128.load(weights, 16);
      if (ASC_FEATURE_RELAXED_SIMD) {
        let w0 = v128.and(p0, nibble);
        let w1 = v128.and(p1, nibble);
        let x = v128.load32_splat(acts);
        a00 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a00);
        a01 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a01);
        x = v128.load32_splat(acts, 4);
        a10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a10);
        a11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a11);
        x = v128.load32_splat(acts, 8);
        a20 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a20);
        a21 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a21);
        x = v128.load32_splat(acts, 12);
        a30 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a30);
        a31 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a31);
        w0 = v128.and(i16x8.shr_u(p0, 4), nibble);
        w1 = v128.and(i16x8.shr_u(p1, 4), nibble);
        x = v128.load32_splat(acts, 16);
        a00 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a00);
        a01 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a01);
        x = v128.load32_splat(acts, 20);
        a10 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a10);
        a11 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a11);
        x = v128.load32_splat(acts, 24);
        a20 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a20);
        a21 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a21);
        x = v128.load32_splat(acts, 28);
        a30 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w0, a30);
        a31 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w1, a31);
        acts += 32;
      } else {
        // Nibbles 0 and 2 of the i16 lanes are even and odd inputs of the first quad, 1 and 3 of the
        // second.
        let w0 = v128.and(p0, nibble16);
        let w1 = v128.and(p1, nibble16);
        let x = v128.load32_splat(acts);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 8);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 16);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 24);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        w0 = v128.and(i16x8.shr_u(p0, 8), nibble16);
        w1 = v128.and(i16x8.shr_u(p1, 8), nibble16);
        x = v128.load32_splat(acts, 4);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 12);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 20);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 28);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        w0 = v128.and(i16x8.shr_u(p0, 4), nibble16);
        w1 = v128.and(i16x8.shr_u(p1, 4), nibble16);
        x = v128.load32_splat(acts, 32);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 40);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 48);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 56);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        w0 = i16x8.shr_u(p0, 12);
        w1 = i16x8.shr_u(p1, 12);
        x = v128.load32_splat(acts, 36);
        a00 = i32x4.add(a00, i32x4.dot_i16x8_s(x, w0));
        a01 = i32x4.add(a01, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 44);
        a10 = i32x4.add(a10, i32x4.dot_i16x8_s(x, w0));
        a11 = i32x4.add(a11, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 52);
        a20 = i32x4.add(a20, i32x4.dot_i16x8_s(x, w0));
        a21 = i32x4.add(a21, i32x4.dot_i16x8_s(x, w1));
        x = v128.load32_splat(acts, 60);
        a30 = i32x4.add(a30, i32x4.dot_i16x8_s(x, w0));
        a31 = i32x4.add(a31, i32x4.dot_i16x8_s(x, w1));
        acts += 64;
      }
    }
    const ws = scratchScales + (<usize>(start / weightGroup) << 6);
    const as = actScales + (<usize>(start / actGroup) << 2);
    y00 = f32x4.add(y00, term(a00, runSum, ws, grouped, as));
    y01 = f32x4.add(y01, term(a01, runSum, ws + 16, grouped, as));
    y10 = f32x4.add(y10, term(a10, runSum + s1, ws, grouped, as + g1));
    y11 = f32x4.add(y11, term(a11, runSum + s1, ws + 16, grouped, as + g1));
    y20 = f32x4.add(y20, term(a20, runSum + s2, ws, grouped, as + g2));
    y21 = f32x4.add(y21, term(a21, runSum + s2, ws + 16, grouped, as + g2));
    y30 = f32x4.add(y30, term(a30, runSum + s3, ws, grouped, as + g3));
    y31 = f32x4.add(y31, term(a31, runSum + s3, ws + 16, grouped, as + g3));
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
  const row = <usize>n << 2;
  storeRow(out, y00, y01, bias, residual, columns, spill);
  if (rows > 1) {
    storeRow(out + row, y10, y11, bias, residual ? residual + row : 0, columns, spill);
  }
  if (rows > 2) {
    storeRow(out + 2 * row, y20, y21, bias, residual ? residual + 2 * row : 0, columns, spill);
  }
  if (rows > 3) {
    storeRow(out + 3 * row, y30, y31, bias, residual ? residual + 3 * row : 0, columns, spill);
  }
}

/** One row by eight columns: generation, where the weights' bandwidth is the limit. */
function tile1(
  out: usize,
  columns: i32,
  acts: usize,
  runSum: usize,
  actScales: usize,
  actGroups: i32,
  weights: usize,
  scratchScales: usize,
  bias: usize,
  residual: usize,
  spill: usize,
  kp: i32,
  run: i32,
  actGroup: i32,
  weightGroup: i32,
): void {
  const nibble = i8x16.splat(15);
  const nibble16 = i16x8.splat(15);
  const grouped = actGroups > 1;
  let y0 = f32x4.splat(0);
  let y1 = y0;
  for (let start = 0; start < kp; start += run) {
    // Several chains of sums: one dot waits for the one before it on its chain.
    let a0 = i32x4.splat(0);
    let a1 = a0;
    let b0 = a0;
    let b1 = a0;
    let c0 = a0;
    let c1 = a0;
    let d0 = a0;
    let d1 = a0;
    const end = weights + (<usize>min<i32>(run, kp - start) << 2);
    if (ASC_FEATURE_RELAXED_SIMD) {
      for (; weights < end; weights += 64) {
        let p0 = v128.load(weights);
        let p1 = v128.load(weights, 16);
        let x = v128.load32_splat(acts);
        a0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p0, nibble), a0);
        a1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p1, nibble), a1);
        x = v128.load32_splat(acts, 4);
        b0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p0, 4), nibble), b0);
        b1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p1, 4), nibble), b1);
        p0 = v128.load(weights, 32);
        p1 = v128.load(weights, 48);
        x = v128.load32_splat(acts, 8);
        c0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p0, nibble), c0);
        c1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(p1, nibble), c1);
        x = v128.load32_splat(acts, 12);
        d0 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p0, 4), nibble), d0);
        d1 = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v128.and(i16x8.shr_u(p1, 4), nibble), d1);
        acts += 16;
      }
    } else {
      for (; weights < end; weights += 32) {
        const p0 = v128.load(weights);
        const p1 = v128.load(weights, 16);
        let x = v128.load32_splat(acts);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, v128.and(p0, nibble16)));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, v128.and(p1, nibble16)));
        x = v128.load32_splat(acts, 4);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p0, 8), nibble16)));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p1, 8), nibble16)));
        x = v128.load32_splat(acts, 8);
        c0 = i32x4.add(c0, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p0, 4), nibble16)));
        c1 = i32x4.add(c1, i32x4.dot_i16x8_s(x, v128.and(i16x8.shr_u(p1, 4), nibble16)));
        x = v128.load32_splat(acts, 12);
        d0 = i32x4.add(d0, i32x4.dot_i16x8_s(x, i16x8.shr_u(p0, 12)));
        d1 = i32x4.add(d1, i32x4.dot_i16x8_s(x, i16x8.shr_u(p1, 12)));
        acts += 16;
      }
    }
    a0 = i32x4.add(i32x4.add(a0, b0), i32x4.add(c0, d0));
    a1 = i32x4.add(i32x4.add(a1, b1), i32x4.add(c1, d1));
    const ws = scratchScales + (<usize>(start / weightGroup) << 6);
    const as = actScales + (<usize>(start / actGroup) << 2);
    y0 = f32x4.add(y0, term(a0, runSum, ws, grouped, as));
    y1 = f32x4.add(y1, term(a1, runSum, ws + 16, grouped, as));
    runSum += 4;
  }
  if (!grouped) {
    const s = v128.load32_splat(actScales);
    y0 = f32x4.mul(y0, s);
    y1 = f32x4.mul(y1, s);
  }
  storeRow(out, y0, y1, bias, residual, columns, spill);
}

export function gemmQd8F32Qb4w(
  out: usize,
  data: usize,
  actScales: usize,
  sums: usize,
  packed: usize,
  scales: usize,
  mins: usize,
  bias: usize,
  residual: usize,
  scratch: usize,
  m: i32,
  n: i32,
  kp: i32,
  actGroup: i32,
  weightGroup: i32,
): void {
  const run = min<i32>(min<i32>(actGroup, weightGroup), kp);
  const runs = (kp + run - 1) / run;
  const actGroups = (kp + actGroup - 1) / actGroup;
  const weightGroups = (kp + weightGroup - 1) / weightGroup;
  const blocks = kp >> 5;
  const rowActs = kp >> 2;
  const spill = scratch;
  const biasPanel = bias ? scratch + 32 : 0;
  const decoded = scratch + 64;
  const runSum = decoded + (<usize>weightGroups << 6);
  const acts = runSum + <usize>((ROW_BLOCK * runs) << 2);
  for (let r0 = 0; r0 < m; r0 += ROW_BLOCK) {
    const rows = min<i32>(ROW_BLOCK, m - r0);
    for (let r = 0; r < rows; r++) {
      floatSums(runSum + (<usize>(r * runs) << 2), sums + (<usize>((r0 + r) * blocks) << 2), kp, run);
    }
    for (let r = 0; r < rows; r += 4) {
      const left = min<i32>(4, rows - r);
      const to = acts + <usize>(r * rowActs * quadBytes());
      const from = data + <usize>(r0 + r) * <usize>kp;
      if (left > 1) interleave(to, from, left, kp);
      else if (!ASC_FEATURE_RELAXED_SIMD) widenRow(to, from, kp);
    }
    for (let j = 0; j < n; j += 8) {
      const columns = min<i32>(8, n - j);
      const weights = packed + ((<usize>j * <usize>kp) >> 1);
      const panelScales = <usize>(j * weightGroups) << 1;
      decodePanel(decoded, scales + panelScales, mins + panelScales, weightGroups);
      if (bias) panelBias(biasPanel, bias + (<usize>j << 2), columns);
      for (let r = 0; r < rows; r += 4) {
        const left = min<i32>(4, rows - r);
        const row = r0 + r;
        const at = (<usize>row * <usize>n + <usize>j) << 2;
        const rowResidual = residual ? residual + at : 0;
        const rowSums = runSum + (<usize>(r * runs) << 2);
        const rowScales = actScales + (<usize>(row * actGroups) << 2);
        const rowData = acts + <usize>(r * rowActs * quadBytes());
        if (left > 1) {
          tile4(
            out + at, n, left, columns, rowData, rowSums, runs, rowScales, actGroups, weights,
            decoded, biasPanel, rowResidual, spill, kp, run, actGroup, weightGroup,
          );
        } else {
          const one = ASC_FEATURE_RELAXED_SIMD ? data + <usize>row * <usize>kp : rowData;
          tile1(
            out + at, columns, one, rowSums, rowScales, actGroups, weights, decoded, biasPanel,
            rowResidual, spill, kp, run, actGroup, weightGroup,
          );
        }
      }
    }
  }
}
