import { record } from '../autograd.ts';
import { ShapeError } from '../errors.ts';
import { formatShape, normalizeAxis, numelOf, type Shape } from '../shape.ts';
import { expectDType, Tensor } from '../tensor.ts';
import { binary, expand, reduceTo, scaled } from './launch.ts';

/** How reductions end: `keepDims` leaves the reduced axis with length 1. */
export interface ReduceOptions {
  readonly keepDims?: boolean;
}

/** The three loops of a reduction and the shapes around it. */
interface Reduction {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
  /** With the reduced axis at length 1: broadcasts against x. */
  readonly kept: Shape;
  /** What the caller gets. */
  readonly shape: Shape;
}

function planReduction(
  operation: string,
  x: Tensor,
  axis: number | undefined,
  keepDims: boolean,
): Reduction {
  if (axis === undefined) {
    const kept = x.shape.map(() => 1);
    return { outer: 1, n: x.numel, inner: 1, kept, shape: keepDims ? kept : [] };
  }
  const at = normalizeAxis(operation, axis, x.rank);
  const kept = x.shape.map((length, i) => (i === at ? 1 : length));
  return {
    outer: numelOf(x.shape.slice(0, at)),
    n: x.shape[at],
    inner: numelOf(x.shape.slice(at + 1)),
    kept,
    shape: keepDims ? kept : kept.filter((_, i) => i !== at),
  };
}

function run(name: 'sum' | 'max' | 'argmax', x: Tensor, plan: Reduction): Tensor {
  const out = Tensor.empty(plan.shape, name === 'argmax' ? 'i32' : 'f32', x.backend);
  x.backend.kernels[name](out.handle, x.handle, plan.outer, plan.n, plan.inner);
  return out;
}

function expectSome(operation: string, x: Tensor, plan: Reduction): void {
  if (plan.n === 0) {
    throw new ShapeError(`${operation}: nothing to reduce in shape ${formatShape(x.shape)}`);
  }
}

/** Sum of all elements (shape `[]`), or along one axis. @throws ShapeError */
export function sum(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  expectDType('sum', 'f32', x);
  const plan = planReduction('sum', x, axis, options.keepDims ?? false);
  return record(run('sum', x, plan), [x], (dy) => [expand('sum', dy.aliasAs(plan.kept), x.shape)]);
}

/** Mean of all elements (shape `[]`), or along one axis. @throws ShapeError when there is none */
export function mean(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  expectDType('mean', 'f32', x);
  const plan = planReduction('mean', x, axis, options.keepDims ?? false);
  expectSome('mean', x, plan);
  const total = run('sum', x, plan);
  const out = scaled(total, 1 / plan.n);
  total.dispose();
  return record(out, [x], (dy) => [
    expand('mean', scaled(dy, 1 / plan.n).aliasAs(plan.kept), x.shape),
  ]);
}

/**
 * Largest of all elements (shape `[]`), or along one axis. Equal largest ones share the gradient.
 * @throws ShapeError when there is none
 */
export function max(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  expectDType('max', 'f32', x);
  const plan = planReduction('max', x, axis, options.keepDims ?? false);
  expectSome('max', x, plan);
  const y = run('max', x, plan);
  return record(y, [x], (dy) => {
    const isMax = scaled(binary('greater', y.aliasAs(plan.kept), x), -1, 1);
    const share = binary('div', isMax, reduceTo('max', isMax, plan.kept));
    return [binary('mul', share, dy.aliasAs(plan.kept))];
  });
}

/** Index (i32) of the first largest element along an axis. No gradient. @throws ShapeError */
export function argmax(x: Tensor, axis = -1): Tensor {
  expectDType('argmax', 'f32', x);
  const plan = planReduction('argmax', x, axis, false);
  expectSome('argmax', x, plan);
  return run('argmax', x, plan);
}

/**
 * Sums x down to `shape`, over the axes along which `shape` would broadcast to x's: the transpose
 * of broadcasting. Returns x itself where the shapes are equal.
 * @throws ShapeError unless `shape` broadcasts to x's shape
 */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  expectDType('sumTo', 'f32', x);
  const out = reduceTo('sumTo', x, shape);
  return out === x ? x : record(out, [x], (dy) => [expand('sumTo', dy, x.shape)]);
}
