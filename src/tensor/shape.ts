import { ShapeError } from './errors.ts';

/** Lengths of the axes, outermost first. `[]` is a scalar. Tensors are always contiguous. */
export type Shape = readonly number[];

/** Number of elements. */
export function numelOf(shape: Shape): number {
  let n = 1;
  for (const length of shape) n *= length;
  return n;
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

/** Whether two shapes have equal lengths, axis by axis. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

/** `[2,3]`, as errors print it. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(',')}]`;
}

/**
 * NumPy broadcasting of two shapes.
 * @throws ShapeError where two lengths differ and neither is 1
 */
export function broadcastShapes(operation: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let axis = 0; axis < rank; axis++) {
    const la = a[axis - rank + a.length] ?? 1;
    const lb = b[axis - rank + b.length] ?? 1;
    if (la !== lb && la !== 1 && lb !== 1) {
      throw new ShapeError(
        `${operation}: shapes do not broadcast, lhs ${formatShape(a)}, rhs ${formatShape(b)}`,
      );
    }
    out[axis] = la === 1 ? lb : la;
  }
  return out;
}

/** Strides (elements) with which `shape` is read as if it were `target`: 0 where it repeats. */
export function broadcastStrides(shape: Shape, target: Shape): number[] {
  const own = stridesOf(shape);
  const lead = target.length - shape.length;
  return target.map((_, axis) => (axis < lead || shape[axis - lead] === 1 ? 0 : own[axis - lead]));
}

/**
 * An axis counted from the front; negative ones count from the back.
 * @throws ShapeError when out of range
 */
export function normalizeAxis(operation: string, axis: number, rank: number): number {
  const from0 = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || from0 < 0 || from0 >= rank) {
    throw new ShapeError(`${operation}: axis ${axis} is out of range for rank ${rank}`);
  }
  return from0;
}

/**
 * Length of the one axis given as -1.
 * @throws ShapeError when the element counts cannot agree
 */
export function inferShape(operation: string, from: Shape, to: Shape): number[] {
  const wildcard = to.indexOf(-1);
  const known = to.reduce((n, length) => (length === -1 ? n : n * length), 1);
  const out = [...to];
  if (wildcard >= 0) out[wildcard] = known === 0 ? 0 : numelOf(from) / known;
  if (numelOf(out) !== numelOf(from) || !out.every((n) => Number.isInteger(n) && n >= 0)) {
    throw new ShapeError(`${operation}: cannot view ${formatShape(from)} as ${formatShape(to)}`);
  }
  return out;
}
