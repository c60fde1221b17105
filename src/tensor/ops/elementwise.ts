import { record } from '../autograd.ts';
import type { Dims4, Kernels } from '../backend.ts';
import { ShapeError } from '../errors.ts';
import { broadcastShapes, broadcastStrides, formatShape, type Shape } from '../shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor.ts';
import { sumTo } from './reduce.ts';

/** Pads lengths or strides in front to four, as kernels take them. */
export function pad4(values: readonly number[], fill: number, operation: string): Dims4 {
  if (values.length > 4) {
    throw new ShapeError(`${operation}: rank ${values.length} is above 4`);
  }
  const [d0, d1, d2, d3] = [...new Array<number>(4 - values.length).fill(fill), ...values];
  return [d0, d1, d2, d3];
}

type BinaryName = 'add' | 'sub' | 'mul' | 'div' | 'maximum' | 'greater';

/** Runs a broadcasting kernel; records nothing. */
function binary(name: BinaryName, a: Tensor, b: Tensor): Tensor {
  expectDType(name, 'f32', a, b);
  const backend = commonBackend(name, a, b);
  const shape: Shape = broadcastShapes(name, a.shape, b.shape);
  const out = Tensor.empty(shape, 'f32', backend);
  backend.kernels[name](
    out.handle,
    a.handle,
    b.handle,
    ...pad4(shape, 1, name),
    ...pad4(broadcastStrides(a.shape, shape), 0, name),
    ...pad4(broadcastStrides(b.shape, shape), 0, name),
  );
  return out;
}

/** a + b with broadcasting. */
export function add(a: Tensor, b: Tensor): Tensor {
  return record(binary('add', a, b), [a, b], (dy) => [sumTo(dy, a.shape), sumTo(dy, b.shape)]);
}

/** a * b with broadcasting. */
export function mul(a: Tensor, b: Tensor): Tensor {
  return record(binary('mul', a, b), [a, b], (dy) => [
    sumTo(mul(dy, b), a.shape),
    sumTo(mul(dy, a), b.shape),
  ]);
}

type UnaryName = {
  [K in keyof Kernels]: Kernels[K] extends Kernels['neg'] ? K : never;
}[keyof Kernels];

function unary(name: UnaryName, x: Tensor): Tensor {
  expectDType(name, 'f32', x);
  const out = Tensor.empty(x.shape, 'f32', x.backend);
  (x.backend.kernels[name] as Kernels['neg'])(out.handle, x.handle, x.numel);
  return out;
}

/** x * Phi(x), erf form (Hendrycks & Gimpel 2016). */
export function gelu(x: Tensor): Tensor {
  return record(unary('gelu', x), [x], (dy) => {
    const dx = Tensor.empty(x.shape, 'f32', x.backend);
    x.backend.kernels.geluGrad(dx.handle, x.handle, dy.handle, x.numel);
    return [dx];
  });
}

/** Element counts must agree: for kernels that do not broadcast. */
export function expectSameShape(operation: string, a: Tensor, b: Tensor): void {
  if (a.numel !== b.numel || a.rank !== b.rank) {
    throw new ShapeError(
      `${operation}: shapes differ, lhs ${formatShape(a.shape)}, rhs ${formatShape(b.shape)}`,
    );
  }
}
