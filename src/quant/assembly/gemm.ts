// Rows by a packed matrix: blocks of rows, panels of eight columns, tiles of four rows.
import { ROW_BLOCK, pairSums, quadBytes, spreadRows, zeroPointSums } from './activations';
import { wideDot } from './dot';
import { BIAS, DECODED, MASK, ONES, bfloats, highScales, lowScales, panelBias } from './epilogue';
import { qb4wMinsAt, qb4wPanelBytes, qb4wScalesAt } from './qb4w-layout';
import { tile1Qb4w, tile4Qb4w } from './tile-qb4w';
import { tile1Qc8w, tile4Qc8w } from './tile-qc8w';

/**
 * One panel's scales as the tiles of four rows read them: f32 [128 inputs][8], then by `Dot` i16 pairs or
 * i32 [32 inputs][8]. Done once for all rows of a block.
 */
function decodePanel<Dot>(to: usize, superScales: usize, scales: usize, kp: i32, groupShift: i32): void {
  for (let i = 0; i < kp; i += 128) {
    v128.store(to, bfloats(superScales));
    v128.store(to, bfloats(superScales + 8), 16);
    superScales += 16;
    to += 32;
  }
  for (let i = 0; i < kp; i += 32) {
    const eight = v128.load8x8_s(scales + (<usize>(i >> groupShift) << 3));
    v128.store(to, lowScales<Dot>(eight));
    v128.store(to, highScales<Dot>(eight), 16);
    to += 32;
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
  // Inputs whose products are added up as integers: 4-bit weights have a D for each 128.
  const run = min<i32>(min<i32>(actGroup, nibbles ? 128 : weightGroup), kp);
  const runs = (kp + run - 1) / run;
  const actGroups = (kp + actGroup - 1) / actGroup;
  const weightGroups = (kp + weightGroup - 1) / weightGroup;
  const blocks = kp >> 5;
  const narrow = ASC_FEATURE_RELAXED_SIMD && !wideDot;
  const biasPanel = bias ? scratch + BIAS : 0;
  const groupShift = weightGroup == 32 ? 5 : weightGroup == 64 ? 6 : 7;
  const pairShift = weightGroup == 32 ? 6 : 7;
  const pairs = weightGroup == 32 && run > 64 ? 2 : 1;
  const superBlocks = (kp + 127) >> 7;
  const scalesAt = qb4wScalesAt(kp);
  const minsAt = qb4wMinsAt(kp, weightGroup);
  const panelScaleBytes = qb4wPanelBytes(kp, weightGroup);
  const decoded = scratch + DECODED;
  const decodedScales = decoded + (<usize>superBlocks << 5);
  const runSum = decodedScales + (<usize>superBlocks << 7);
  const rowSums = <usize>(nibbles ? runs * pairs : runs) << 2;
  const acts = runSum + (<usize>superBlocks << 4) * ROW_BLOCK;
  const rowActs = <usize>((kp >> 2) * quadBytes());
  v128.store(scratch, i16x8.splat(1), ONES);
  let mask = i16x8.splat(0xff);
  if (nibbles) mask = ASC_FEATURE_RELAXED_SIMD ? i8x16.splat(15) : i16x8.splat(15);
  v128.store(scratch, mask, MASK);

  for (let r0 = 0; r0 < m; r0 += ROW_BLOCK) {
    const rows = min<i32>(ROW_BLOCK, m - r0);
    for (let r = 0; r < rows; r++) {
      const to = runSum + <usize>r * rowSums;
      const from = sums + (<usize>((r0 + r) * blocks) << 2);
      if (nibbles) pairSums(to, from, kp, run, pairs, weightGroup);
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
      if (nibbles) {
        weights = packed + ((<usize>j * <usize>kp) >> 1);
        panelScales = scales + <usize>(j >> 3) * panelScaleBytes;
        const groups = panelScales + scalesAt;
        if (rows > 1 && narrow) decodePanel<i16>(decoded, panelScales, groups, kp, groupShift);
        else if (rows > 1) decodePanel<i32>(decoded, panelScales, groups, kp, groupShift);
      }
      if (bias) panelBias(biasPanel, bias + (<usize>j << 2), columns);
      for (let r = 0; r < rows; r += 4) {
        const left = min<i32>(4, rows - r);
        const at = (<usize>(r0 + r) * <usize>stride + <usize>j) << 2;
        const to = out + at;
        const x = acts + <usize>r * rowActs;
        const xSums = runSum + <usize>r * rowSums;
        const xScales = actScales + (<usize>((r0 + r) * actGroups) << 2);
        const add = residual ? residual + at : 0;
        if (nibbles && narrow && left > 1) {
          tile4Qb4w<i16>(
            to, stride, left, columns, x, xSums, rowSums, pairs, xScales, actGroups, weights, decoded,
            decodedScales, panelScales + minsAt, biasPanel, add, scratch, kp, run, actGroup, pairShift,
          );
        } else if (nibbles && left > 1) {
          tile4Qb4w<i32>(
            to, stride, left, columns, x, xSums, rowSums, pairs, xScales, actGroups, weights, decoded,
            decodedScales, panelScales + minsAt, biasPanel, add, scratch, kp, run, actGroup, pairShift,
          );
        } else if (nibbles && narrow) {
          tile1Qb4w<i16>(
            to, columns, x, xSums, pairs, xScales, actGroups, weights, panelScales,
            panelScales + scalesAt, panelScales + minsAt, biasPanel, add, scratch, kp, run, actGroup,
            weightGroup, pairShift,
          );
        } else if (nibbles) {
          tile1Qb4w<i32>(
            to, columns, x, xSums, pairs, xScales, actGroups, weights, panelScales,
            panelScales + scalesAt, panelScales + minsAt, biasPanel, add, scratch, kp, run, actGroup,
            weightGroup, pairShift,
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
    false, out, data, actScales, sums, packed, scales, bias, residual, scratch, m, n, kp,
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
    false, out, data, actScales, sums, packed, scales, bias, residual, scratch, m, n, kp,
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
    true, out, data, actScales, sums, packed, scales, bias, residual, scratch, m, n, kp,
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
    true, out, data, actScales, sums, packed, scales, bias, residual, scratch, m, n, kp,
    actGroup, weightGroup, stride,
  );
}
