import type { Kernels } from '../../../backend.ts';
import { type DeviceFunction, type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction, Operand } from '../runtime.ts';
import type { Piece, Value } from '../value.ts';
import { assign } from './assign.ts';
import { maxMiddle, sumMiddle } from './reduce.ts';

/*
 * What a row is normed by is computed once a row, not once an element: a launch makes the terms
 * [rows, d], `sumMiddle` adds them up in tiles, and a last launch goes over the elements. A weight
 * that is not there is a single 1, which `weighted` keeps from being indexed.
 */

function product(this: Thread, a: Floats, b: Floats): number {
  return a[this.thread.x] * b[this.thread.x];
}

function rstdOf(this: Thread, sum: Floats, factor: number, eps: number): number {
  return 1.0 / Math.sqrt(sum[this.thread.x] * factor + eps);
}

function rmsNormed(
  this: Thread<'d' | 'weighted'>,
  x: Floats,
  rstd: Floats,
  weight: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const at = (this.thread.x - row * this.constants.d) * this.constants.weighted;
  return x[this.thread.x] * rstd[row] * weight[at];
}

/** g * xhat. */
function rmsTerm(
  this: Thread<'d' | 'weighted'>,
  x: Floats,
  rstd: Floats,
  weight: Floats,
  dy: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const at = (this.thread.x - row * this.constants.d) * this.constants.weighted;
  return dy[this.thread.x] * weight[at] * x[this.thread.x] * rstd[row];
}

function rmsGrad(
  this: Thread<'d' | 'weighted'>,
  x: Floats,
  rstd: Floats,
  weight: Floats,
  dy: Floats,
  dot: Floats,
  factor: number,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const at = (this.thread.x - row * this.constants.d) * this.constants.weighted;
  const g = dy[this.thread.x] * weight[at];
  return rstd[row] * (g - x[this.thread.x] * rstd[row] * dot[row] * factor);
}

function scaledBy(this: Thread, x: Floats, factor: number): number {
  return x[this.thread.x] * factor;
}

function squaredDeviation(this: Thread<'d'>, x: Floats, mean: Floats): number {
  const row = quotient(this.thread.x, this.constants.d);
  const deviation = x[this.thread.x] - mean[row];
  return deviation * deviation;
}

function layerNormed(
  this: Thread<'d' | 'weighted' | 'biased'>,
  x: Floats,
  mean: Floats,
  rstd: Floats,
  weight: Floats,
  bias: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const at = this.thread.x - row * this.constants.d;
  let shift = 0.0;
  if (this.constants.biased === 1) shift = bias[at];
  const normed = (x[this.thread.x] - mean[row]) * rstd[row];
  return normed * weight[at * this.constants.weighted] + shift;
}

/** g. */
function weighted(this: Thread<'d' | 'weighted'>, weight: Floats, dy: Floats): number {
  const row = quotient(this.thread.x, this.constants.d);
  return (
    dy[this.thread.x] * weight[(this.thread.x - row * this.constants.d) * this.constants.weighted]
  );
}

/** g * xhat. */
function layerTerm(this: Thread<'d'>, x: Floats, mean: Floats, rstd: Floats, g: Floats): number {
  const row = quotient(this.thread.x, this.constants.d);
  return g[this.thread.x] * (x[this.thread.x] - mean[row]) * rstd[row];
}

function layerGrad(
  this: Thread<'d'>,
  x: Floats,
  mean: Floats,
  rstd: Floats,
  g: Floats,
  total: Floats,
  dot: Floats,
  factor: number,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const normed = (x[this.thread.x] - mean[row]) * rstd[row];
  return rstd[row] * (g[this.thread.x] - total[row] * factor - normed * dot[row] * factor);
}

function expAbove(this: Thread<'d'>, x: Floats, top: Floats): number {
  return Math.exp(x[this.thread.x] - top[quotient(this.thread.x, this.constants.d)]);
}

function divided(this: Thread<'d'>, x: Floats, total: Floats): number {
  return x[this.thread.x] / total[quotient(this.thread.x, this.constants.d)];
}

function logOf(this: Thread<'d'>, x: Floats, top: Floats, total: Floats): number {
  const row = quotient(this.thread.x, this.constants.d);
  return x[this.thread.x] - top[row] - Math.log(total[row]);
}

function softmaxDx(this: Thread<'d'>, y: Floats, dy: Floats, dot: Floats): number {
  const row = quotient(this.thread.x, this.constants.d);
  return y[this.thread.x] * (dy[this.thread.x] - dot[row]);
}

function logSoftmaxDx(this: Thread<'d'>, y: Floats, dy: Floats, total: Floats): number {
  const row = quotient(this.thread.x, this.constants.d);
  return dy[this.thread.x] - Math.exp(y[this.thread.x]) * total[row];
}

/** Sums of rows of what `source` makes of the operands, `[rows]`. */
export function sumRows(
  launch: LaunchFunction,
  source: DeviceFunction,
  operands: readonly Operand[],
  rows: number,
  d: number,
  constants: Readonly<Record<string, number>> = { d },
): Value {
  return sumMiddle(launch, launch(source, rows * d, operands, constants), rows, d, 1);
}

/** Takes the largest of each row, and the sum of exponentials of what is below it, both `[rows]`. */
export function rowExponentials(launch: LaunchFunction, x: Value, rows: number, d: number) {
  const top = maxMiddle(launch, x.retain(), rows, d, 1);
  const exps = launch(expAbove, rows * d, [x, top], { d });
  const total = sumMiddle(launch, exps.retain(), rows, d, 1);
  return { top, exps, total };
}

/** RMS norm, layer norm and softmax over rows of width d, with their gradients. */
export function normKernels(launch: LaunchFunction, held: (operand: Operand) => Value) {
  const isThere = (operand: Piece | null) => (operand ? 1 : 0);
  const drop = (...values: readonly Value[]) => {
    for (const value of values) value.release();
  };
  return {
    rmsNorm(out, rstd, x, weight, rows, d, eps) {
      if (rows * d === 0) return;
      const squares = sumRows(launch, product, [x, x], rows, d, {});
      const scale = launch(rstdOf, rows, [squares], {}, [1 / d, eps]);
      const constants = { d, weighted: isThere(weight) };
      assign(launch, out, launch(rmsNormed, rows * d, [x, scale, weight], constants));
      assign(launch, rstd, scale);
      drop(squares);
    },
    rmsNormGrad(dx, x, rstd, weight, dy, rows, d) {
      if (rows * d === 0) return;
      const constants = { d, weighted: isThere(weight) };
      const inputs = [x, rstd, weight, dy];
      const dot = sumRows(launch, rmsTerm, inputs, rows, d, constants);
      assign(launch, dx, launch(rmsGrad, rows * d, [...inputs, dot], constants, [1 / d]));
      drop(dot);
    },
    layerNorm(out, mean, rstd, x, weight, bias, rows, d, eps) {
      if (rows * d === 0) return;
      const total = sumMiddle(launch, held(x).retain(), rows, d, 1);
      const middle = launch(scaledBy, rows, [total], {}, [1 / d]);
      const squares = sumRows(launch, squaredDeviation, [x, middle], rows, d);
      const scale = launch(rstdOf, rows, [squares], {}, [1 / d, eps]);
      const inputs = [x, middle, scale, weight, bias];
      const constants = { d, weighted: isThere(weight), biased: isThere(bias) };
      assign(launch, out, launch(layerNormed, rows * d, inputs, constants));
      assign(launch, mean, middle);
      assign(launch, rstd, scale);
      drop(total, squares);
    },
    layerNormGrad(dx, x, mean, rstd, weight, dy, rows, d) {
      if (rows * d === 0) return;
      const g = launch(weighted, rows * d, [weight, dy], { d, weighted: isThere(weight) });
      const total = sumMiddle(launch, g.retain(), rows, d, 1);
      const dot = sumRows(launch, layerTerm, [x, mean, rstd, g], rows, d);
      const inputs = [x, mean, rstd, g, total, dot];
      assign(launch, dx, launch(layerGrad, rows * d, inputs, { d }, [1 / d]));
      drop(g, total, dot);
    },
    softmax(out, x, rows, d) {
      if (rows * d === 0) return;
      const { top, exps, total } = rowExponentials(launch, held(x), rows, d);
      assign(launch, out, launch(divided, rows * d, [exps, total], { d }));
      drop(top, exps, total);
    },
    logSoftmax(out, x, rows, d) {
      if (rows * d === 0) return;
      const { top, exps, total } = rowExponentials(launch, held(x), rows, d);
      assign(launch, out, launch(logOf, rows * d, [x, top, total], { d }));
      drop(top, exps, total);
    },
    softmaxGrad(dx, y, dy, rows, d) {
      if (rows * d === 0) return;
      const dot = sumRows(launch, product, [y, dy], rows, d, {});
      assign(launch, dx, launch(softmaxDx, rows * d, [y, dy, dot], { d }));
      drop(dot);
    },
    logSoftmaxGrad(dx, y, dy, rows, d) {
      if (rows * d === 0) return;
      const total = sumMiddle(launch, held(dy).retain(), rows, d, 1);
      assign(launch, dx, launch(logSoftmaxDx, rows * d, [y, dy, total], { d }));
      drop(total);
    },
  } satisfies Partial<Kernels>;
}
