// Vector mathematics, four f32 at a time. Polynomials are minimax fits (Remez exchange in 40
// digits) of the forms given with each; the bounds are relative, in exact arithmetic, and f32
// rounding adds about 1e-7.

/** a * b + c; one rounding or two, as the engine likes, in the relaxed variant. */
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** The first `rest` (1 to 3) floats at p, zeros behind: never reads past them. */
export function loadTail(p: usize, rest: i32): v128 {
  if (rest == 1) return v128.load_zero<f32>(p);
  const two = v128.load_zero<f64>(p);
  return rest == 2 ? two : v128.load_lane<f32>(p, two, 2, 8);
}

/** Writes the first `rest` (1 to 3) lanes to p. */
export function storeTail(p: usize, v: v128, rest: i32): void {
  if (rest == 1) {
    v128.store_lane<f32>(p, v, 0);
    return;
  }
  v128.store_lane<f64>(p, v, 0);
  if (rest == 3) v128.store_lane<f32>(p, v, 2, 8);
}

/** Sum of the four lanes. */
export function sumLanes(v: v128): f32 {
  const pairs = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** Largest of the four lanes. */
export function maxLanes(v: v128): f32 {
  const pairs = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return max<f32>(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
}

/** Lane i of the result is the sum of the i-th argument's lanes. */
export function sumLanes4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(
    v128.shuffle<f32>(a, b, 0, 4, 1, 5),
    v128.shuffle<f32>(a, b, 2, 6, 3, 7),
  );
  const cd = f32x4.add(
    v128.shuffle<f32>(c, d, 0, 4, 1, 5),
    v128.shuffle<f32>(c, d, 2, 6, 3, 7),
  );
  return f32x4.add(
    v128.shuffle<f32>(ab, cd, 0, 1, 4, 5),
    v128.shuffle<f32>(ab, cd, 2, 3, 6, 7),
  );
}

/** 1.5 * 2^23: added to a small number it rounds it to an integer and leaves that in the low bits. */
const ROUNDER: f32 = 12582912.0;

/** e^(x - n ln(2)) for the n nearest to x / ln(2): 1 + r + r^2 q(r) on |r| <= ln(2)/2, 3e-9. */
function expReduced(x: v128, n: v128): v128 {
  // ln(2) in two parts; n times the first is exact.
  let r = madd(n, f32x4.splat(-0.693359375), x);
  r = madd(n, f32x4.splat(2.12194440e-4), r);
  let q = madd(r, f32x4.splat(0.00138146024545), f32x4.splat(0.00836871715705));
  q = madd(q, r, f32x4.splat(0.041668387991));
  q = madd(q, r, f32x4.splat(0.166665206287));
  q = madd(q, r, f32x4.splat(0.499999934479));
  return f32x4.add(madd(f32x4.mul(r, r), q, r), f32x4.splat(1.0));
}

/**
 * e^x = 2^n e^r. Zero below -104, infinity above 88.73; subnormal results are right because 2^n
 * is multiplied in two halves.
 */
export function exp4(x: v128): v128 {
  // pmin and pmax with x first keep a NaN, and are one instruction where min and max are many.
  const limited = f32x4.pmax(f32x4.pmin(x, f32x4.splat(88.8)), f32x4.splat(-104.0));
  const rounder = f32x4.splat(ROUNDER);
  const shifted = madd(limited, f32x4.splat(1.44269504), rounder);
  const p = expReduced(limited, f32x4.sub(shifted, rounder));
  const power = i32x4.sub(shifted, i32x4.splat(0x4b400000));
  const half = i32x4.shr_s(power, 1);
  const bias = i32x4.splat(127);
  const scaleA = i32x4.shl(i32x4.add(half, bias), 23);
  const scaleB = i32x4.shl(i32x4.add(i32x4.sub(power, half), bias), 23);
  return f32x4.mul(f32x4.mul(p, scaleA), scaleB);
}

/**
 * e^x for x <= 0 (up to rounding) where 1.6e-38 is as good as 0: weights of a softmax. A third
 * fewer instructions than exp4.
 */
export function expBelow4(x: v128): v128 {
  const limited = f32x4.pmax(x, f32x4.splat(-87.0));
  const rounder = f32x4.splat(ROUNDER);
  const shifted = madd(limited, f32x4.splat(1.44269504), rounder);
  const p = expReduced(limited, f32x4.sub(shifted, rounder));
  return f32x4.mul(p, i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f800000)));
}

/**
 * ln(x) = e ln(2) + ln(1 + f), 1 + f in [sqrt(1/2), sqrt(2)), ln(1 + f) = f - f^2/2 + f^3 q(f):
 * 6e-9. -Infinity at 0, NaN below, subnormals included.
 */
export function log4(x: v128): v128 {
  const tiny = f32x4.lt(x, f32x4.splat(1.17549435e-38));
  const normal = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608.0)), x, tiny);
  const e = i32x4.shr_s(i32x4.sub(normal, i32x4.splat(0x3f3504f3)), 23);
  const f = f32x4.sub(i32x4.sub(normal, i32x4.shl(e, 23)), f32x4.splat(1.0));
  const exponent = f32x4.convert_i32x4_s(i32x4.sub(e, v128.and(tiny, i32x4.splat(23))));
  let q = madd(f, f32x4.splat(-0.0763448624599), f32x4.splat(0.127615643292));
  q = madd(q, f, f32x4.splat(-0.131601808791));
  q = madd(q, f, f32x4.splat(0.142017602385));
  q = madd(q, f, f32x4.splat(-0.166233577927));
  q = madd(q, f, f32x4.splat(0.200012267686));
  q = madd(q, f, f32x4.splat(-0.25000821015));
  q = madd(q, f, f32x4.splat(0.333333317085));
  const square = f32x4.mul(f, f);
  let y = madd(f32x4.mul(square, f), q, f32x4.mul(exponent, f32x4.splat(-2.12194440e-4)));
  y = f32x4.add(madd(square, f32x4.splat(-0.5), y), f);
  y = madd(exponent, f32x4.splat(0.693359375), y);
  const infinite = f32x4.splat(Infinity);
  y = v128.bitselect(infinite, y, f32x4.eq(x, infinite));
  y = v128.bitselect(f32x4.splat(-Infinity), y, f32x4.eq(x, f32x4.splat(0)));
  return v128.bitselect(y, f32x4.splat(NaN), f32x4.ge(x, f32x4.splat(0)));
}

/** 1 / (1 + e^-x). */
export function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1.0);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

/** Below 0.625: x + x^3 q(x^2), 4e-9; above: 1 - 2 / (e^2x + 1), which loses nothing there. */
export function tanh4(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const u = f32x4.mul(x, x);
  let q = madd(u, f32x4.splat(-0.00572163395531), f32x4.splat(0.0206552224123));
  q = madd(q, u, f32x4.splat(-0.0537451459701));
  q = madd(q, u, f32x4.splat(0.13331515192));
  q = madd(q, u, f32x4.splat(-0.333332850761));
  const small = madd(f32x4.mul(u, x), q, x);
  const one = f32x4.splat(1.0);
  const grown = exp4(f32x4.add(magnitude, magnitude));
  const large = f32x4.sub(one, f32x4.div(f32x4.splat(2.0), f32x4.add(grown, one)));
  const signed = v128.or(large, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(small, signed, f32x4.lt(magnitude, f32x4.splat(0.625)));
}

/**
 * Phi(x), the normal distribution: Phi(-z) = e^(-z^2/2) p(1 / (1 + 0.4 z)) for z = |x|, relative
 * 8e-8 up to z = 14. `bell` is e^(-x^2/2), which callers share with the density.
 */
export function normalCdf4(x: v128, bell: v128): v128 {
  const one = f32x4.splat(1.0);
  const t = f32x4.div(one, madd(f32x4.abs(x), f32x4.splat(0.4), one));
  let p = madd(t, f32x4.splat(-0.0396010182227), f32x4.splat(0.200601474724));
  p = madd(p, t, f32x4.splat(-0.373683769836));
  p = madd(p, t, f32x4.splat(0.250973911834));
  p = madd(p, t, f32x4.splat(-0.0123860151796));
  p = madd(p, t, f32x4.splat(0.158416626368));
  p = madd(p, t, f32x4.splat(0.155786605364));
  p = madd(p, t, f32x4.splat(0.159904185592));
  p = madd(p, t, f32x4.splat(-1.19875514138e-5));
  const tail = f32x4.mul(p, bell);
  return v128.bitselect(tail, f32x4.sub(one, tail), f32x4.lt(x, f32x4.splat(0)));
}

/** e^(-x^2/2). */
export function bell4(x: v128): v128 {
  return exp4(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
}
