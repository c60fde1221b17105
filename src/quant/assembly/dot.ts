// Which relaxed dot is fast here. Both give the same numbers: weights are in 0..127.

/**
 * True where the engine turns the 32-bit dot into one instruction (VNNI, sdot). Elsewhere V8 spends
 * five on it, two of them on rebuilding a constant, and the 16-bit dot (pmaddubsw) with our own
 * widening takes three, or two and a bit for 4-bit weights, whose sums fit 16 bits for a while.
 */
export let wideDot: bool = false;

export function useWideDot(wide: bool): void {
  wideDot = wide;
}

/**
 * Lane 0 of the 32-bit dot for operands outside the range on which engines agree: tells how the
 * engine computes it. 127 x 4 by 255 x 4 is 129,540 with VNNI, 65,534 with pmaddubsw (which
 * saturates pairs), -508 where the second operand is signed (sdot). 0 without relaxed SIMD.
 */
export function relaxedDotProbe(a: i32, b: i32): i32 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i32x4.extract_lane(
      i32x4.relaxed_dot_i8x16_i7x16_add_s(i8x16.splat(<i8>a), i8x16.splat(<i8>b), i32x4.splat(0)),
      0,
    );
  }
  return 0;
}

/** acc + dot of quads by two 16-bit steps: i8 x in the first operand, w in 0..127, ones = i16 1. */
export function narrowDot(x: v128, w: v128, ones: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i32x4.add(acc, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(x, w), ones));
  }
  return acc;
}

/** Pairs' sums of i8 x times w in 0..127, in i16 lanes. */
export function pairProducts(x: v128, w: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_dot_i8x16_i7x16_s(x, w);
  return x;
}

/** The same, added to the i16 lanes of acc. */
export function pairDot(x: v128, w: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(x, w));
  }
  return acc;
}

/** Sums times their groups' scales, to i32 lanes: of pairs of i16, or of i32. */
export function scaled<Dot>(sums: v128, scales: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD && sizeof<Dot>() == 2) return i32x4.dot_i16x8_s(sums, scales);
  return i32x4.mul(sums, scales);
}
