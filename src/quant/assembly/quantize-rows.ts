// f32 rows to int8 with one scale a row or group: `scale = absmax / 127`.

/** 2^-100 as f32 bits: smaller groups become zeros, 127 / absmax would near f32's limit. */
const SMALLEST_ABSMAX_BITS: i32 = 0x0d800000;
const INFINITY_BITS: i32 = 0x7f800000;
/** 1.5 * 2^23: adding it leaves the nearest integer, ties to even, in the low bits. */
const ROUNDER: f32 = 12582912.0;
const ROUNDER_BITS: i32 = 0x4b400000;

/** Largest |x| of n elements, as bits: for floats without sign, integer order is float order, NaN last. */
function absmaxBits(x: usize, n: i32): i32 {
  const magnitude = i32x4.splat(0x7fffffff);
  let m0 = i32x4.splat(0);
  let m1 = m0;
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const at = x + (<usize>i << 2);
    m0 = i32x4.max_s(m0, v128.and(v128.load(at), magnitude));
    m1 = i32x4.max_s(m1, v128.and(v128.load(at, 16), magnitude));
  }
  m0 = i32x4.max_s(m0, m1);
  let best = max<i32>(
    max<i32>(i32x4.extract_lane(m0, 0), i32x4.extract_lane(m0, 1)),
    max<i32>(i32x4.extract_lane(m0, 2), i32x4.extract_lane(m0, 3)),
  );
  for (; i < n; i++) best = max<i32>(best, load<i32>(x + (<usize>i << 2)) & 0x7fffffff);
  return best;
}

/** Four floats to four integers in i32 lanes. */
function round4(x: usize, inverse: v128): v128 {
  const shifted = f32x4.add(f32x4.mul(v128.load(x), inverse), f32x4.splat(ROUNDER));
  return i32x4.sub(shifted, i32x4.splat(ROUNDER_BITS));
}

/** Quantizes n <= padded elements; zeros from n to `padded`, a multiple of 32. */
function quantize(data: usize, x: usize, n: i32, padded: i32, inverse: f32): void {
  const factor = f32x4.splat(inverse);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const at = x + (<usize>i << 2);
    const low = i16x8.narrow_i32x4_s(round4(at, factor), round4(at + 16, factor));
    const high = i16x8.narrow_i32x4_s(round4(at + 32, factor), round4(at + 48, factor));
    v128.store(data + i, i8x16.narrow_i16x8_s(low, high));
  }
  for (; i < n; i++) {
    const shifted: f32 = load<f32>(x + (<usize>i << 2)) * inverse + ROUNDER;
    store<i8>(data + i, <i8>(reinterpret<i32>(shifted) - ROUNDER_BITS));
  }
  for (; i < padded; i++) store<i8>(data + i, 0);
}

/** Sum of 32 signed bytes. */
function sum32(data: usize): i32 {
  const pairs = i16x8.add(
    i16x8.extadd_pairwise_i8x16_s(v128.load(data)),
    i16x8.extadd_pairwise_i8x16_s(v128.load(data, 16)),
  );
  const quads = i32x4.extadd_pairwise_i16x8_s(pairs);
  return (
    i32x4.extract_lane(quads, 0) +
    i32x4.extract_lane(quads, 1) +
    i32x4.extract_lane(quads, 2) +
    i32x4.extract_lane(quads, 3)
  );
}

export function quantizeRowsQd8(
  data: usize,
  scales: usize,
  sums: usize,
  x: usize,
  rows: i32,
  k: i32,
  kp: i32,
  groupSize: i32,
): void {
  for (let row = 0; row < rows; row++) {
    for (let start = 0; start < kp; start += groupSize) {
      const n = max<i32>(0, min<i32>(k - start, groupSize));
      const padded = min<i32>(kp - start, groupSize);
      const from = x + (<usize>start << 2);
      const bits = absmaxBits(from, n);
      if (bits >= SMALLEST_ABSMAX_BITS && bits < INFINITY_BITS) {
        const absmax = reinterpret<f32>(bits);
        store<f32>(scales, absmax / 127);
        quantize(data + start, from, n, padded, 127 / absmax);
      } else {
        store<f32>(scales, bits < INFINITY_BITS ? 0 : f32.NaN);
        memory.fill(data + start, 0, padded);
      }
      scales += 4;
    }
    for (let i = 0; i < kp; i += 32) {
      store<i32>(sums, sum32(data + i));
      sums += 4;
    }
    x += <usize>k << 2;
    data += kp;
  }
}
