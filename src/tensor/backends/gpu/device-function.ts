/** What a kernel sees of itself: which element it computes, and the integers it was made for. */
export interface Thread<C extends string = string> {
  readonly thread: { readonly x: number };
  readonly constants: Readonly<Record<C, number>>;
}

/** The same of a kernel whose threads lie in three directions. */
export interface Grid<C extends string = string> {
  readonly thread: { readonly x: number; readonly y: number; readonly z: number };
  readonly constants: Readonly<Record<C, number>>;
}

/** An operand inside a kernel. */
export type Floats = readonly number[];

/**
 * A kernel as gpu.js takes it: computes element `this.thread.x` of a flat output. gpu.js reads its
 * source text, so it stands alone: no name from outside but those in `HELPERS`. First operands
 * (flat), then run-time numbers. Loops are bounded by `this.constants`: gpu.js ends a loop whose
 * bound is a variable at its limit, silently.
 */
// biome-ignore lint/suspicious/noExplicitAny: each has its own operands and constants
export type DeviceFunction = (this: any, ...args: any[]) => number;

/**
 * `floor(whole / divisor)` for whole numbers below 2^24, where GPUs divide with an error of a few
 * units in the last place. No kernel may have a constant by the name of a parameter: on `cpu`, gpu.js
 * would take it for that constant in every call.
 */
export function quotient(whole: number, divisor: number): number {
  let q = Math.floor((whole + 0.5) / divisor);
  const rest = whole - q * divisor;
  if (rest < 0) q = q - 1;
  if (rest >= divisor) q = q + 1;
  return q;
}

/** Where element i of `[., d1, d2, d3]` lies in memory with these strides. */
export function strided(
  i: number,
  d1: number,
  d2: number,
  d3: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
): number {
  const upper = quotient(i, d3);
  const middle = quotient(upper, d2);
  const outer = quotient(middle, d1);
  return (
    outer * s0 + (middle - outer * d1) * s1 + (upper - middle * d2) * s2 + (i - upper * d3) * s3
  );
}

/**
 * Distribution function of the standard normal: half of 1 - erf(-x / sqrt 2) below 0, from
 * Abramowitz & Stegun 7.1.26, within 1e-7.
 */
export function normalCdf(x: number): number {
  const t = 1.0 / (1.0 + 0.2316418882 * Math.abs(x));
  let tail = 1.061405429 * t - 1.453152027;
  tail = tail * t + 1.421413741;
  tail = tail * t - 0.284496736;
  tail = tail * t + 0.254829592;
  tail = 0.5 * tail * t * Math.exp(-0.5 * x * x);
  let cdf = tail;
  if (x > 0) cdf = 1.0 - tail;
  return cdf;
}

/**
 * Hyperbolic tangent: below 0.625 x + x^3 q(x^2), q a minimax fit, 4e-9; above 1 - 2 / (e^2x + 1),
 * which loses nothing there. A GPU's own is allowed to be worse, and to overflow.
 */
export function tanhOf(x: number): number {
  const u = x * x;
  let q = 0.0206552224123 - 0.00572163395531 * u;
  q = q * u - 0.0537451459701;
  q = q * u + 0.13331515192;
  q = q * u - 0.333332850761;
  let y = x + x * u * q;
  if (x >= 0.625) y = 1.0 - 2.0 / (Math.exp(2.0 * x) + 1.0);
  if (x <= -0.625) y = 2.0 / (Math.exp(-2.0 * x) + 1.0) - 1.0;
  return y;
}

/** Functions that kernels may call. */
export const HELPERS = [quotient, strided, normalCdf, tanhOf];

/**
 * The text of a kernel. With `guarded`, one element behind the others (index `constants.guard`)
 * is the product of the operands' own last elements (`constants.guard0`, ...), which is 1 as long
 * as every launch before and this one really ran: a GPU that gives up on a long kernel leaves
 * zeros and no error.
 */
export function kernelText(source: DeviceFunction, operands: number, guarded: boolean): string {
  const own = source.toString();
  const text = own.startsWith('function') ? own : `function ${own}`; // methods leave the word out
  if (!guarded) return text;
  const open = text.indexOf('{', text.indexOf(')'));
  const names = text.slice(text.indexOf('(') + 1, text.indexOf(')')).split(',');
  const last = names
    .slice(0, operands)
    .map((name, i) => `${name.trim()}[this.constants.guard${i}]`);
  const product = last.length > 0 ? last.join(' * ') : '1';
  return `${text.slice(0, open + 1)} if (this.thread.x === this.constants.guard) { return ${product}; } ${text.slice(open + 1)}`;
}
