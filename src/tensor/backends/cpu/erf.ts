const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);

/** Below this the series converges in some 40 terms; above it the continued fraction is quick. */
const SERIES_LIMIT = 2.5;
/** Enough levels for 1e-15 at SERIES_LIMIT; fewer would do further out. */
const FRACTION_DEPTH = 60;

/**
 * Complementary error function, relative error below 1e-12, most of it just under 2.5.
 * `|x| < 2.5`: erf(x) = 2/sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!, whose terms all have
 * one sign (Abramowitz & Stegun 7.1.6); beyond, the continued fraction 7.1.14.
 */
export function erfc(x: number): number {
  const z = Math.abs(x);
  if (z < SERIES_LIMIT) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return 1 - TWO_OVER_SQRT_PI * Math.exp(-x * x) * sum;
  }
  let fraction = z;
  for (let n = FRACTION_DEPTH; n >= 1; n--) fraction = z + n / 2 / fraction;
  const tail = Number.isFinite(z) ? Math.exp(-z * z) / (Math.sqrt(Math.PI) * fraction) : 0;
  return Number.isNaN(x) ? x : x > 0 ? tail : 2 - tail;
}

/** Error function, absolute error about 1e-15. */
export function erf(x: number): number {
  return 1 - erfc(x);
}

/** Distribution function of the standard normal, exact in both tails. */
export function normalCdf(x: number): number {
  return erfc(-x * Math.SQRT1_2) / 2;
}

/** Density of the standard normal. */
export function normalPdf(x: number): number {
  return Math.exp(-x * x * 0.5) / Math.sqrt(2 * Math.PI);
}
