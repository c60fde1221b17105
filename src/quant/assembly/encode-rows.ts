// f32 rows to the wire's codes (codec.ts). What the twin computes in f64 is computed in f64 here, sums
// one after the other: bytes are equal.

/** Values that share a scale. */
const GROUP: i32 = 64;
const INFINITY_BITS: i32 = 0x7f800000;
/** The optimal four-level quantizer of a unit normal, and where its level changes. */
const INNER: f64 = 0.4528;
const OUTER: f64 = 1.5104;
const F16_MAX: f64 = 65504;

/** Nearest half of a number that is not negative, ties to even; saturates at 65,504. */
function nearestF16(value: f64): u32 {
  const bits = reinterpret<u32>(<f32>min<f64>(value, F16_MAX));
  if (bits < 0x38800000) {
    // Subnormal half: scaled so that its unit in the last place is 1.
    return <u32>nearest<f64>(<f64>reinterpret<f32>(bits) * 16777216.0);
  }
  const rebased = bits - 0x38000000;
  return (rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13;
}

/** The half at or above a number: see `absmaxScale` of the twin. */
function scaleAbove(exact: f64): u32 {
  if (exact >= F16_MAX) return 0x7bff;
  const bits = reinterpret<u64>(exact);
  const exponent = <i32>(bits >>> 52) - 1023;
  if (exponent < -14) {
    let half: u32 = 0x400;
    let scale: f64 = 0.00006103515625; // 2^-14
    while (half > 1 && scale / 2 >= exact) {
      scale /= 2;
      half >>>= 1;
    }
    return half;
  }
  const fraction = bits & 0xfffffffffffff;
  const half = (<u32>(exponent + 15) << 10) | <u32>(fraction >>> 42);
  return (fraction & 0x3ffffffffff) != 0 ? half + 1 : half;
}

/** A finite half that is not negative, as a number. */
function numberOf(half: u32): f64 {
  if (half < 0x400) return <f64>half / 16777216.0;
  return reinterpret<f64>((<u64>((half >>> 10) + 1008) << 52) | (<u64>(half & 0x3ff) << 42));
}

/** (x - mean) / scale of n values, in place. */
function standardize(x: usize, mean: usize, scale: usize, n: i32): void {
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    const at = <usize>i << 2;
    const value = f64x2.promote_low_f32x4(v128.load64_zero(x + at));
    const centre = f64x2.promote_low_f32x4(v128.load64_zero(mean + at));
    const unit = f64x2.promote_low_f32x4(v128.load64_zero(scale + at));
    const scaled = f64x2.div(f64x2.sub(value, centre), unit);
    v128.store64_lane(x + at, f32x4.demote_f64x2_zero(scaled), 0);
  }
  if (i < n) {
    const at = <usize>i << 2;
    const value = (<f64>load<f32>(x + at) - <f64>load<f32>(mean + at)) / <f64>load<f32>(scale + at);
    store<f32>(x + at, <f32>value);
  }
}

/** Largest |x| as bits: for floats without sign, integer order is float order, NaN last. */
function absmaxBits(x: usize, n: i32): i32 {
  let best: i32 = 0;
  let i = 0;
  if (n >= 4) {
    const magnitude = i32x4.splat(0x7fffffff);
    let most = i32x4.splat(0);
    for (; i + 4 <= n; i += 4) {
      most = i32x4.max_s(most, v128.and(v128.load(x + (<usize>i << 2)), magnitude));
    }
    best = max<i32>(
      max<i32>(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1)),
      max<i32>(i32x4.extract_lane(most, 2), i32x4.extract_lane(most, 3)),
    );
  }
  for (; i < n; i++) best = max<i32>(best, load<i32>(x + (<usize>i << 2)) & 0x7fffffff);
  return best;
}

/** Codes of 3, 4 and 8 bits as i32 over the values; the scale's bits. */
function codeAbsmax(x: usize, n: i32, bits: i32, absmax: f32): u32 {
  const q = <f64>((1 << (bits - 1)) - 1);
  const half = scaleAbove(<f64>absmax / q);
  const scale = numberOf(half);
  const inverse = f64x2.splat(1 / scale);
  const limit = q * scale;
  const high = f64x2.splat(limit);
  const low = f64x2.splat(-limit);
  // Shifted into the positive numbers, where truncation is rounding half up.
  const zero = f64x2.splat(<f64>(1 << (bits - 1)));
  const rounding = f64x2.splat(0.5);
  const flip = i32x4.splat(bits == 8 ? 0x80 : 0);
  for (let i = 0; i < n; i += 2) {
    const at = x + (<usize>i << 2);
    const last = i + 1 == n;
    const loaded = last ? v128.load32_zero(at) : v128.load64_zero(at);
    const value = f64x2.min(high, f64x2.max(low, f64x2.promote_low_f32x4(loaded)));
    const shifted = f64x2.add(f64x2.add(f64x2.mul(value, inverse), zero), rounding);
    const codes = v128.xor(i32x4.trunc_sat_f64x2_s_zero(shifted), flip);
    if (last) v128.store32_lane(at, codes, 0);
    else v128.store64_lane(at, codes, 0);
  }
  return half;
}

/** Signs: 1 is negative. */
function codeSigns(x: usize, n: i32): u32 {
  let sum: f64 = 0;
  for (let i = 0; i < n; i++) sum += <f64>abs<f32>(load<f32>(x + (<usize>i << 2)));
  const half = nearestF16(sum / <f64>n);
  for (let i = 0; i < n; i++) {
    const at = x + (<usize>i << 2);
    store<i32>(at, half != 0 && load<f32>(at) < 0 ? 1 : 0);
  }
  return half;
}

/** Signs and one of two magnitudes. */
function codeTwoBits(x: usize, n: i32): u32 {
  let squares: f64 = 0;
  for (let i = 0; i < n; i++) {
    const value = <f64>load<f32>(x + (<usize>i << 2));
    squares += value * value;
  }
  const threshold = ((INNER + OUTER) / 2) * sqrt<f64>(squares / <f64>n);
  let products: f64 = 0;
  let levelSquares: f64 = 0;
  for (let i = 0; i < n; i++) {
    const at = x + (<usize>i << 2);
    const value = <f64>load<f32>(at);
    const magnitude = abs<f64>(value);
    const isOuter = magnitude > threshold;
    const level = isOuter ? OUTER : INNER;
    store<i32>(at, (isOuter ? 1 : 0) | (value < 0 ? 2 : 0));
    products += magnitude * level;
    levelSquares += level * level;
  }
  const half = nearestF16(products / levelSquares);
  if (!half) memory.fill(x, 0, <usize>n << 2);
  return half;
}

/** Packs i32 codes, the first in the lowest bits; the address after the last byte. */
function pack(out: usize, codes: usize, n: i32, bits: i32): usize {
  let held: u32 = 0;
  let filled = 0;
  for (let i = 0; i < n; i++) {
    held |= load<u32>(codes + (<usize>i << 2)) << filled;
    filled += bits;
    if (filled >= 8) {
      store<u8>(out++, held);
      held >>>= 8;
      filled -= 8;
    }
  }
  if (filled > 0) store<u8>(out++, held);
  return out;
}

/** A value as a half, with its sign; infinities and NaN stay what they are. */
function halfOf(x: usize): u32 {
  const bits = load<u32>(x);
  const sign = (bits >>> 16) & 0x8000;
  if ((bits & 0x7fffffff) >= <u32>INFINITY_BITS) return sign | 0x7c00;
  return sign | nearestF16(<f64>abs<f32>(load<f32>(x)));
}

export function encodeRows(
  out: usize,
  x: usize,
  mean: usize,
  scale: usize,
  rows: i32,
  width: i32,
  kinds: i32,
  bits: i32,
): void {
  const groups = (width + GROUP - 1) / GROUP;
  let kind = 0;
  for (let row = 0; row < rows; row++) {
    if (mean) {
      const channels = <usize>(kind * width) << 2;
      standardize(x, mean + channels, scale + channels, width);
      kind = kind + 1 == kinds ? 0 : kind + 1;
    }
    if (bits == 16) {
      for (let i = 0; i < width; i++) store<u16>(out + (<usize>i << 1), halfOf(x + (<usize>i << 2)));
      out += <usize>width << 1;
      x += <usize>width << 2;
      continue;
    }
    let codes = out + (<usize>groups << 1);
    for (let start = 0; start < width; start += GROUP) {
      const n = min<i32>(GROUP, width - start);
      const largest = absmaxBits(x, n);
      let half: u32 = 0x7c00;
      if (largest < INFINITY_BITS) {
        if (bits == 1) half = codeSigns(x, n);
        else if (bits == 2) half = codeTwoBits(x, n);
        else half = codeAbsmax(x, n, bits, reinterpret<f32>(largest));
      } else {
        memory.fill(x, 0, <usize>n << 2);
      }
      store<u16>(out, half);
      out += 2;
      codes = pack(codes, x, n, bits);
      x += <usize>n << 2;
    }
    out = codes;
  }
}
