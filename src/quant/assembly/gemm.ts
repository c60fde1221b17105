// Rows by a packed matrix: blocks of rows, panels of eight columns, tiles of four rows.
import { ROW_BLOCK, floatSums, quadBytes, spreadRows, zeroPointSums } from './activations';
import { wideDot } from './dot';
import { BIAS, DECODED, HALF_BITS, HALF_REBASE, MASK, ONES, halves, panelBias } from './epilogue';
import { tile1Qb4w, tile4Qb4w } from './tile-qb4w';
import { tile1Qc8w, tile4Qc8w } from './tile-qc8w';

/**
 * Halves of one panel's scales and mins to f32: [groups][8 scales, 8 mins]. Done once for all rows
 * of a block, so that group scales cost a load in the tiles.
 */
function decodePanel(scratch: usize, scales: usize, mins: usize, groups: i32): void {
  const bits = v128.load(scratch, HALF_BITS);
  const rebase = v128.load(scratch, HALF_REBASE);
  let to = scratch + DECODED;
  for (let g = 0; g < groups; g++) {
    v128.store(to, halves(scales, bits, rebase));
    v128.store(to, halves(scales + 8, bits, rebase), 16);
    v128.store(to, halves(mins, bits, rebase), 32);
    v128.store(to, halves(mins + 8, bits, rebase), 48);
    scales += 16;
    mins += 16;
    to += 64;
  }
}

function gemm(
  nibbles: bool,
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
  /** Floats from one row of out and residual to the next: n, or more where n is a part of the columns. */
  stride: i32,
): void {
  const run = min<i32>(min<i32>(actGroup, weightGroup), kp);
  const runs = (kp + run - 1) / run;
  const actGroups = (kp + actGroup - 1) / actGroup;
  const weightGroups = (kp + weightGroup - 1) / weightGroup;
  const blocks = kp >> 5;
  const narrow = ASC_FEATURE_RELAXED_SIMD && !wideDot;
  const biasPanel = bias ? scratch + BIAS : 0;
  const decoded = scratch + DECODED;
  const runSum = decoded + (<usize>weightGroups << 6);
  const acts = runSum + (<usize>(ROW_BLOCK * runs) << 2);
  const rowActs = <usize>((kp >> 2) * quadBytes());
  v128.store(scratch, i16x8.splat(1), ONES);
  let mask = i16x8.splat(0xff);
  if (nibbles) mask = ASC_FEATURE_RELAXED_SIMD ? i8x16.splat(15) : i16x8.splat(15);
  v128.store(scratch, mask, MASK);
  v128.store(scratch, i32x4.splat(0x8fffe000), HALF_BITS);
  v128.store(scratch, i32x4.splat(0x77800000), HALF_REBASE);

  for (let r0 = 0; r0 < m; r0 += ROW_BLOCK) {
    const rows = min<i32>(ROW_BLOCK, m - r0);
    for (let r = 0; r < rows; r++) {
      const to = runSum + (<usize>(r * runs) << 2);
      const from = sums + (<usize>((r0 + r) * blocks) << 2);
      if (nibbles) floatSums(to, from, kp, run);
      else zeroPointSums(to, from, kp, run);
    }
    for (let r = 0; r < rows; r += 4) {
      const left = min<i32>(4, rows - r);
      const from = data + <usize>(r0 + r) * <usize>kp;
      spreadRows(acts + <usize>r * rowActs, from, left, left > 1 ? 4 : 1, kp);
    }
    for (let j = 0; j < n; j += 8) {
      const columns = min<i32>(8, n - j);
      let weights = packed + <usize>j * <usize>kp;
      let panelScales = scales + (<usize>(j * weightGroups) << 2);
      const atHalves = <usize>(j * weightGroups) << 1;
      if (nibbles) {
        if (rows > 1) decodePanel(scratch, scales + atHalves, mins + atHalves, weightGroups);
        weights = packed + ((<usize>j * <usize>kp) >> 1);
        panelScales = decoded;
      }
      if (bias) panelBias(biasPanel, bias + (<usize>j << 2), columns);
      for (let r = 0; r < rows; r += 4) {
        const left = min<i32>(4, rows - r);
        const at = (<usize>(r0 + r) * <usize>stride + <usize>j) << 2;
        const to = out + at;
        const x = acts + <usize>r * rowActs;
        const xSums = runSum + (<usize>(r * runs) << 2);
        const xScales = actScales + (<usize>((r0 + r) * actGroups) << 2);
        const add = residual ? residual + at : 0;
        if (nibbles && narrow && left > 1) {
          tile4Qb4w<i16>(
            to, stride, left, columns, x, xSums, runs, xScales, actGroups, weights, panelScales,
            biasPanel, add, scratch, kp, run, actGroup, weightGroup,
          );
        } else if (nibbles && left > 1) {
          tile4Qb4w<i32>(
            to, stride, left, columns, x, xSums, runs, xScales, actGroups, weights, panelScales,
            biasPanel, add, scratch, kp, run, actGroup, weightGroup,
          );
        } else if (nibbles && narrow) {
          tile1Qb4w<i16>(
            to, stride, left, columns, x, xSums, runs, xScales, actGroups, weights,
            scales + atHalves, mins + atHalves, biasPanel, add, scratch, kp, run, actGroup, weightGroup,
          );
        } else if (nibbles) {
          tile1Qb4w<i32>(
            to, stride, left, columns, x, xSums, runs, xScales, actGroups, weights,
            scales + atHalves, mins + atHalves, biasPanel, add, scratch, kp, run, actGroup, weightGroup,
          );
        } else if (left > 1) {
          tile4Qc8w(
            to, stride, left, columns, x, xSums, runs, xScales, actGroups, weights, panelScales,
            biasPanel, add, scratch, kp, run, actGroup, weightGroup,
          );
        } else {
          tile1Qc8w(
            to, stride, left, columns, x, xSums, runs, xScales, actGroups, weights, panelScales,
            biasPanel, add, scratch, kp, run, actGroup, weightGroup,
          );
        }
      }
    }
  }
}

export function gemmQd8F32Qc8w(
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
  gemm(
    false, out, data, actScales, sums, packed, scales, mins, bias, residual, scratch, m, n, kp,
    actGroup, weightGroup, n,
  );
}

/** Some of the columns: out, residual, weights, scales and bias begin with the first of them. */
export function gemmPartQd8F32Qc8w(
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
  stride: i32,
): void {
  gemm(
    false, out, data, actScales, sums, packed, scales, mins, bias, residual, scratch, m, n, kp,
    actGroup, weightGroup, stride,
  );
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
  gemm(
    true, out, data, actScales, sums, packed, scales, mins, bias, residual, scratch, m, n, kp,
    actGroup, weightGroup, n,
  );
}

/** Some of the columns: out, residual, weights, scales and bias begin with the first of them. */
export function gemmPartQd8F32Qb4w(
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
  stride: i32,
): void {
  gemm(
    true, out, data, actScales, sums, packed, scales, mins, bias, residual, scratch, m, n, kp,
    actGroup, weightGroup, stride,
  );
}
