// One matrix product that every contender computes, and the f64 reference all are held against.
import { valuesOf } from '../values.ts';

/** y = x w^T: x [M,K], w [N,K], fixed values in -1..1. */
export interface Problem {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly x: Float32Array;
  readonly w: Float32Array;
  /** Rows of y that are verified, with their values in f64. */
  readonly reference: ReadonlyMap<number, Float64Array>;
}

/** How numbers are kept while they are multiplied. */
export type Format = 'f32' | 'int8' | 'int4';

/**
 * Largest allowed norm of the error over the norm of the reference. Values are uniform in -1..1, whose
 * spread is 0.577. f32 sums of a few thousand products: 1e-6. int8: rounding to 127 or 63 steps a side
 * errs by 0.4 and 0.8% of the spread. int4: 15 steps over a group's range, 6.7%; a format without a
 * minimum a group, 16 steps from -8 to 7, 7.5%. A wrong scale, row or column gives 50% and more.
 */
export const BOUNDS: Readonly<Record<Format, number>> = { f32: 1e-5, int8: 0.015, int4: 0.1 };

/** Operands and reference of a product. */
export function problemOf(m: number, k: number, n: number): Problem {
  const [x, w] = [valuesOf(m * k, 1), valuesOf(n * k, 2)];
  const reference = new Map<number, Float64Array>();
  for (const row of new Set([0, m >> 1, m - 1])) {
    const sums = new Float64Array(n);
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[row * k + i] * w[j * k + i];
      sums[j] = sum;
    }
    reference.set(row, sums);
  }
  return { m, k, n, x, w, reference };
}

/** Norm of the error of the rows that are verified over the norm of the reference. */
export function relativeError({ m, n, reference }: Problem, y: ArrayLike<number>): number {
  if (y.length !== m * n) throw new Error(`${y.length} numbers came out instead of ${m * n}`);
  let [error, norm] = [0, 0];
  for (const [row, expected] of reference) {
    for (let j = 0; j < n; j++) {
      error += (y[row * n + j] - expected[j]) ** 2;
      norm += expected[j] ** 2;
    }
  }
  return Math.sqrt(error / norm);
}

/** A way to compute a problem: numbers of JavaScript in, numbers of JavaScript out. */
export interface Engine {
  /** `mobillm`, `onnxruntime-web`, ... */
  readonly engine: string;
  /** What really runs: kernel and variant, or operator and attributes. */
  readonly variant: string;
  readonly format: Format;
  /** Whole arrays go in and come out, as they do for a peer's users. */
  run(): ArrayLike<number> | Promise<ArrayLike<number>>;
  dispose(): void | Promise<void>;
}

/** @throws Error for a result that is further off than its format allows */
export function checkError(problem: Problem, engine: Engine, y: ArrayLike<number>): number {
  const error = relativeError(problem, y);
  if (error <= BOUNDS[engine.format]) return error;
  throw new Error(
    `${engine.engine} ${engine.variant}: off by ${error.toPrecision(3)} of the norm, where ${engine.format} is allowed ${BOUNDS[engine.format]}`,
  );
}
