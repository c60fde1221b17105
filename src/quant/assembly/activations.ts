// What the tiles read instead of the quantized rows: every four inputs (a quad) already repeated
// over a vector. A broadcasting load would do that too, but V8 spends an extra instruction on its
// address, and the tiles are bound by the number of instructions. One record holds one quad of one
// row (`rows` = 1) or of four interleaved rows:
//   relaxed: [row][a0 a1 a2 a3] * 4, i8
//   simd128: [row][a0 a2] * 4, then [row][a1 a3] * 4, i16. Weights are split into even and odd
//            bytes by a mask and a shift, so their dots want activations of equal parity.

/** Rows whose activations are prepared at a time: they stay in L2 while all panels pass. */
export const ROW_BLOCK: i32 = 16;

/** Bytes of one quad of one row. */
export function quadBytes(): i32 {
  if (ASC_FEATURE_RELAXED_SIMD) return 16;
  return 32;
}

/** Repeats quads of `count` rows [count,Kp] into records of `width` (1 or 4) rows. */
export function spreadRows(to: usize, data: usize, count: i32, width: i32, kp: i32): void {
  for (let row = 0; row < count; row++) {
    let at = to + (<usize>row << 4);
    const end = data + kp;
    if (ASC_FEATURE_RELAXED_SIMD) {
      const step = <usize>width << 4;
      for (; data < end; data += 4) {
        v128.store(at, v128.load32_splat(data));
        at += step;
      }
    } else {
      const step = <usize>width << 4;
      for (; data < end; data += 4) {
        const quad = v128.load32_splat(data);
        v128.store(at, i16x8.shr_s(i16x8.shl(quad, 8), 8));
        at += step;
        v128.store(at, i16x8.shr_s(quad, 8));
        at += step;
      }
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

/**
 * Sums of one row that meet the minima of groups: i16 in the places that `qb4w-scales.ts` gives the
 * minima, two a pair and `pairs` pairs a run, 0 for what lies outside the run.
 */
export function pairSums(
  to: usize,
  sums: usize,
  kp: i32,
  run: i32,
  pairs: i32,
  weightGroup: i32,
): void {
  const pairShift = weightGroup == 32 ? 1 : 2;
  for (let start = 0; start < kp; start += run) {
    for (let p = 0; p < pairs; p++) store<i32>(to + (<usize>p << 2), 0);
    const first = start >> 5;
    const end = min<i32>(start + run, kp) >> 5;
    for (let b = first; b < end; b++) {
      const pair = (b >> pairShift) - (first >> pairShift);
      const half = weightGroup == 128 ? 0 : (b >> (pairShift - 1)) & 1;
      const at = to + (<usize>pair << 2) + (<usize>half << 1);
      store<i16>(at, <i16>(load<i16>(at) + load<i32>(sums + (<usize>b << 2))));
    }
    to += <usize>pairs << 2;
  }
}
