import { record } from '../autograd.ts';
import { DTypeError, ShapeError } from '../errors.ts';
import { scope } from '../scope.ts';
import {
  formatShape,
  inferShape,
  normalizeAxis,
  numelOf,
  type Shape,
  sameShape,
  stridesOf,
} from '../shape.ts';
import { commonBackend, expectUsable, Tensor, zeros } from '../tensor.ts';
import { copyInto, expand, reduceTo } from './launch.ts';

/** The copy kernel moves elements of four bytes, whatever they mean. */
function expectFourBytes(operation: string, x: Tensor): void {
  expectUsable(operation, x);
  if (x.dtype !== 'f32' && x.dtype !== 'i32') {
    throw new DTypeError(`${operation}: takes f32 or i32, got ${x.dtype} ${formatShape(x.shape)}`);
  }
}

/**
 * The same elements, row-major, under another shape; one length may be -1. Aliases x.
 * @throws ShapeError when the element counts differ
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  expectUsable('reshape', x);
  const out = x.aliasAs(inferShape('reshape', x.shape, shape));
  return record(out, [x], (dy) => [dy.aliasAs(x.shape)]);
}

/** The same value with no way back: gradients stop here. Aliases x. */
export function detach(x: Tensor): Tensor {
  expectUsable('detach', x);
  return x.aliasAs(x.shape);
}

/** Axis `axes[i]` of x as axis i. */
function permuted(x: Tensor, axes: readonly number[]): Tensor {
  const own = stridesOf(x.shape);
  const shape = axes.map((axis) => x.shape[axis]);
  const strides = axes.map((axis) => own[axis]);
  // Moving axes of length 1 about moves no element.
  const moving = axes.filter((axis) => x.shape[axis] !== 1);
  if (moving.every((axis, i) => i === 0 || axis > moving[i - 1])) return x.aliasAs(shape);
  const out = Tensor.empty(shape, x.dtype, x.backend);
  copyInto('transpose', out, 0, stridesOf(shape), x, 0, strides, shape);
  return out;
}

/**
 * Axes in another order: axis i of the result is axis `axes[i]` of x; reversed by default.
 * A copy (an alias where only axes of length 1 move). f32 or i32.
 * @throws ShapeError unless `axes` is a permutation
 */
export function transpose(x: Tensor, axes?: readonly number[]): Tensor {
  expectFourBytes('transpose', x);
  const order = axes
    ? axes.map((axis) => normalizeAxis('transpose', axis, x.rank))
    : x.shape.map((_, axis) => x.rank - 1 - axis);
  if (order.length !== x.rank || new Set(order).size !== x.rank) {
    throw new ShapeError(
      `transpose: axes ${formatShape(order)} do not permute shape ${formatShape(x.shape)}`,
    );
  }
  const inverse = new Array<number>(x.rank);
  order.forEach((axis, i) => {
    inverse[axis] = i;
  });
  return record(permuted(x, order), [x], (dy) => [permuted(dy, inverse)]);
}

/** `[outer, n, inner]`: x seen around one axis. */
function around(shape: Shape, axis: number): { outer: number; inner: number } {
  return { outer: numelOf(shape.slice(0, axis)), inner: numelOf(shape.slice(axis + 1)) };
}

/** Copies rows between `whole` and `part`, which is `[start, start + length)` of it along axis. */
function copyPart(
  direction: 'out of' | 'into',
  whole: Tensor,
  part: Tensor,
  axis: number,
  start: number,
): void {
  const { outer, inner } = around(part.shape, axis);
  const wholeRow = whole.shape[axis] * inner;
  const partRow = part.shape[axis] * inner;
  const shape = [outer, partRow];
  const offset = start * inner;
  if (direction === 'into') {
    copyInto('concat', whole, offset, [wholeRow, 1], part, 0, [partRow, 1], shape);
  } else {
    copyInto('slice', part, 0, [partRow, 1], whole, offset, [wholeRow, 1], shape);
  }
}

function cut(x: Tensor, axis: number, start: number, end: number): Tensor {
  const shape = x.shape.map((length, i) => (i === axis ? end - start : length));
  const out = Tensor.empty(shape, x.dtype, x.backend);
  copyPart('out of', x, out, axis, start);
  return out;
}

/**
 * Elements `start <= i < end` along one axis; negative bounds count from the end. A copy.
 * f32 or i32.
 * @throws ShapeError when the bounds are out of range or crossed
 */
export function slice(x: Tensor, axis: number, start: number, end?: number): Tensor {
  expectFourBytes('slice', x);
  const at = normalizeAxis('slice', axis, x.rank);
  const length = x.shape[at];
  const from = start < 0 ? start + length : start;
  const to = end === undefined ? length : end < 0 ? end + length : end;
  if (
    !(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= length)
  ) {
    throw new ShapeError(
      `slice: [${start}, ${end ?? length}) is out of range for axis ${at} of ${formatShape(x.shape)}`,
    );
  }
  return record(cut(x, at, from, to), [x], (dy) => {
    const dx = zeros(x.shape, x.backend);
    copyPart('into', dx, dy, at, from);
    return [dx];
  });
}

/**
 * Tensors one after another along an axis. f32 or i32, all of one dtype.
 * @throws ShapeError when other axes differ, or there is nothing to join
 */
export function concat(xs: readonly Tensor[], axis: number): Tensor {
  if (xs.length === 0) throw new ShapeError('concat: nothing to join');
  const first = xs[0];
  const at = normalizeAxis('concat', axis, first.rank);
  const backend = commonBackend('concat', ...xs);
  let total = 0;
  for (const x of xs) {
    expectFourBytes('concat', x);
    if (x.dtype !== first.dtype) {
      throw new DTypeError(`concat: dtypes differ, ${first.dtype} and ${x.dtype}`);
    }
    const fits = x.rank === first.rank && x.shape.every((n, i) => i === at || n === first.shape[i]);
    if (!fits) {
      throw new ShapeError(
        `concat: shapes differ beside axis ${at}, ${formatShape(first.shape)} and ${formatShape(x.shape)}`,
      );
    }
    total += x.shape[at];
  }
  const shape = first.shape.map((length, i) => (i === at ? total : length));
  const out = Tensor.empty(shape, first.dtype, backend);
  let start = 0;
  for (const x of xs) {
    copyPart('into', out, x, at, start);
    start += x.shape[at];
  }
  return record(out, xs, (dy) => {
    let from = 0;
    return xs.map((x) => {
      const to = from + x.shape[at];
      const part = cut(dy, at, from, to);
      from = to;
      return part;
    });
  });
}

/**
 * Tensors of one shape side by side along a new axis. f32 or i32.
 * @throws ShapeError when shapes differ, or there is nothing to stack
 */
export function stack(xs: readonly Tensor[], axis = 0): Tensor {
  if (xs.length === 0) throw new ShapeError('stack: nothing to stack');
  const first = xs[0];
  const at = normalizeAxis('stack', axis, first.rank + 1);
  return scope(() => {
    const parts = xs.map((x) => {
      if (!sameShape(x.shape, first.shape)) {
        throw new ShapeError(
          `stack: shapes differ, ${formatShape(first.shape)} and ${formatShape(x.shape)}`,
        );
      }
      return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
    });
    return concat(parts, at);
  });
}

/**
 * x repeated to a larger shape by the rules of broadcasting. A copy (an alias where nothing
 * repeats). f32 or i32.
 * @throws ShapeError unless x broadcasts to `shape`
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  expectFourBytes('broadcastTo', x);
  const out = expand('broadcastTo', x, shape);
  return record(out, [x], (dy) => [reduceTo('sumTo', dy, x.shape)]);
}
