import type { Dims4, Kernels } from '../backend.ts';
import { ShapeError } from '../errors.ts';
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  numelOf,
  type Shape,
  sameShape,
  stridesOf,
} from '../shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor.ts';

// Calls of kernels that make a tensor and record nothing: what operations and their vjps are
// built of. Shape checks of whole families live here, so that they stand once.

/** Lengths and strides in the form kernels take. */
interface Loops {
  readonly dims: Dims4;
  readonly strides: readonly Dims4[];
}

/**
 * Merges neighbouring axes that every operand reads as one, drops axes of length 1 and pads to
 * four: `[2,3,4] + [2,3,4]` is one loop of 24, so kernels see the longest inner loops there are.
 * @throws ShapeError when more than four axes remain
 */
export function planLoops(
  operation: string,
  shape: Shape,
  ...strides: readonly (readonly number[])[]
): Loops {
  const dims: number[] = [];
  const kept: number[][] = strides.map(() => []);
  shape.forEach((length, axis) => {
    if (length === 1) return;
    const last = dims.length - 1;
    if (last >= 0 && strides.every((own, i) => kept[i][last] === own[axis] * length)) {
      dims[last] *= length;
      strides.forEach((own, i) => {
        kept[i][last] = own[axis];
      });
    } else {
      dims.push(length);
      strides.forEach((own, i) => {
        kept[i].push(own[axis]);
      });
    }
  });
  if (dims.length > 4) {
    throw new ShapeError(`${operation}: ${formatShape(shape)} needs more than four nested loops`);
  }
  return { dims: pad4(dims, 1), strides: kept.map((own) => pad4(own, 0)) };
}

function pad4(values: readonly number[], fill: number): Dims4 {
  const [d0, d1, d2, d3] = [...new Array<number>(4 - values.length).fill(fill), ...values];
  return [d0, d1, d2, d3];
}

/** Names of the kernels with one operand. */
export type UnaryName = {
  [K in keyof Kernels]: Kernels[K] extends Kernels['neg'] ? K : never;
}[keyof Kernels];

/** `f(x)` elementwise. */
export function unary(name: UnaryName, x: Tensor): Tensor {
  expectDType(name, 'f32', x);
  const out = Tensor.empty(x.shape, 'f32', x.backend);
  (x.backend.kernels[name] as Kernels['neg'])(out.handle, x.handle, x.numel);
  return out;
}

/** Names of the kernels with two operands that broadcast. */
export type BinaryName = 'add' | 'sub' | 'mul' | 'div' | 'maximum' | 'greater';

/** `f(a, b)` elementwise with broadcasting. */
export function binary(name: BinaryName, a: Tensor, b: Tensor): Tensor {
  expectDType(name, 'f32', a, b);
  const backend = commonBackend(name, a, b);
  const kernel = backend.kernels[name];
  if (sameShape(a.shape, b.shape)) {
    const out = Tensor.empty(a.shape, 'f32', backend);
    kernel(out.handle, a.handle, b.handle, 1, 1, 1, out.numel, 0, 0, 0, 1, 0, 0, 0, 1);
    return out;
  }
  const shape = broadcastShapes(name, a.shape, b.shape);
  const { dims, strides } = planLoops(
    name,
    shape,
    broadcastStrides(a.shape, shape),
    broadcastStrides(b.shape, shape),
  );
  const out = Tensor.empty(shape, 'f32', backend);
  kernel(out.handle, a.handle, b.handle, ...dims, ...strides[0], ...strides[1]);
  return out;
}

/** `x * scale + shift` elementwise. */
export function scaled(x: Tensor, scale: number, shift = 0): Tensor {
  expectDType('affine', 'f32', x);
  const out = Tensor.empty(x.shape, 'f32', x.backend);
  x.backend.kernels.affine(out.handle, x.handle, x.numel, scale, shift);
  return out;
}

/** Copies `x`, read with `xStrides`, into `out` at `outStrides`; both over `shape`. */
export function copyInto(
  operation: string,
  out: Tensor,
  outOffset: number,
  outStrides: readonly number[],
  x: Tensor,
  xOffset: number,
  xStrides: readonly number[],
  shape: Shape,
): void {
  const { dims, strides } = planLoops(operation, shape, outStrides, xStrides);
  const { copy } = x.backend.kernels;
  copy(out.handle, outOffset, x.handle, xOffset, ...dims, ...strides[0], ...strides[1]);
}

/**
 * `x` repeated to `shape`. A copy, or an alias where nothing repeats.
 * @throws ShapeError unless x broadcasts to exactly `shape`
 */
export function expand(operation: string, x: Tensor, shape: Shape): Tensor {
  if (!sameShape(broadcastShapes(operation, x.shape, shape), shape)) {
    throw new ShapeError(
      `${operation}: ${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`,
    );
  }
  if (x.numel === numelOf(shape)) return x.aliasAs(shape);
  const out = Tensor.empty(shape, x.dtype, x.backend);
  const read = broadcastStrides(x.shape, shape);
  copyInto(operation, out, 0, stridesOf(shape), x, 0, read, shape);
  return out;
}

/** A reduction of axes `[from, to)`; the output has length 1 there. */
function reduceAxes(x: Tensor, from: number, to: number): Tensor {
  const outer = numelOf(x.shape.slice(0, from));
  const n = numelOf(x.shape.slice(from, to));
  const inner = numelOf(x.shape.slice(to));
  const shape = x.shape.map((length, axis) => (axis >= from && axis < to ? 1 : length));
  const out = Tensor.empty(shape, 'f32', x.backend);
  x.backend.kernels.sum(out.handle, x.handle, outer, n, inner);
  return out;
}

/**
 * Sums over the axes along which `shape` would repeat to give x's shape: what a broadcast does to
 * gradients. Returns x itself where the shapes are equal.
 * @throws ShapeError unless `shape` broadcasts to x's shape
 */
export function reduceTo(operation: string, x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (!sameShape(broadcastShapes(operation, x.shape, shape), x.shape)) {
    throw new ShapeError(
      `${operation}: ${formatShape(shape)} does not broadcast to ${formatShape(x.shape)}`,
    );
  }
  const lead = x.rank - shape.length;
  const repeats = x.shape.map(
    (length, axis) => length !== 1 && (axis < lead || shape[axis - lead] === 1),
  );
  // One kernel call for every run of neighbouring axes.
  let current = x;
  for (let from = 0; from < x.rank; from++) {
    if (!repeats[from]) continue;
    let to = from + 1;
    while (to < x.rank && repeats[to]) to++;
    const next = reduceAxes(current, from, to);
    if (current !== x) current.dispose();
    current = next;
    from = to;
  }
  const out = current.aliasAs(shape);
  if (current !== x) current.dispose();
  return out;
}

/**
 * Element counts and ranks must agree: for kernels that do not broadcast.
 * @throws ShapeError when the shapes differ
 */
export function expectSameShape(operation: string, a: Tensor, b: Tensor): void {
  if (!sameShape(a.shape, b.shape)) {
    throw new ShapeError(
      `${operation}: shapes differ, lhs ${formatShape(a.shape)}, rhs ${formatShape(b.shape)}`,
    );
  }
}

/** @throws ShapeError unless `x` has the rank */
export function expectRank(operation: string, x: Tensor, rank: number, what: string): void {
  if (x.rank !== rank) {
    throw new ShapeError(
      `${operation}: ${what} must have rank ${rank}, got ${formatShape(x.shape)}`,
    );
  }
}

/**
 * Kernels index memory with these numbers and check nothing, so the operation does.
 * @throws ShapeError when one of `indices` (i32) is outside `[0, limit)` and is not `except`
 */
export function expectIndices(
  operation: string,
  indices: Tensor,
  limit: number,
  what: string,
  except?: number,
): Int32Array {
  expectDType(operation, 'i32', indices);
  const values = indices.toArray() as Int32Array;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if ((value < 0 || value >= limit) && value !== except) {
      throw new ShapeError(`${operation}: ${what} ${value} at ${i} is outside 0..${limit - 1}`);
    }
  }
  return values;
}
