import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  add,
  type Backend,
  concat,
  concatMatmul,
  cpuBackend,
  type Kernels,
  lerp,
  matmul,
  mul,
  random,
  randomNormal,
  ShapeError,
  scope,
  sub,
  sum,
  type Tensor,
  valueAndGrad,
} from '../../../src/tensor/index.ts';

/* Operations that a train step is made of, beside the compositions they stand for. */

/** f32 sums of a dozen terms in another order. */
const CLOSE = 1e-5;

/** A backend that notes which kernels are called. */
function noting(): { backend: Backend; calls: string[] } {
  const calls: string[] = [];
  const backend = cpuBackend();
  const noted = Object.entries(backend.kernels).map(([name, kernel]) => [
    name,
    (...args: unknown[]) => {
      calls.push(name);
      (kernel as (...args: unknown[]) => void)(...args);
    },
  ]);
  return { backend: { ...backend, kernels: Object.fromEntries(noted) as Kernels }, calls };
}

function normal(backend: Backend, ...shape: number[]): Tensor {
  return randomNormal(shape, 1, random(shape.length), backend);
}

function assertNear(got: Tensor, expected: Tensor): void {
  assert.deepEqual(got.shape, expected.shape);
  const values = expected.toFloat32();
  for (const [i, value] of got.toFloat32().entries()) {
    assert.ok(Math.abs(value - values[i]) < CLOSE, `[${i}]: ${value}, not ${values[i]}`);
  }
}

test('lerp is a + (b - a) share, its gradients included', () => {
  const backend = cpuBackend();
  const params = {
    a: normal(backend, 3, 5),
    b: normal(backend, 5, 3, 1),
    share: normal(backend, 1),
  };
  const b = (of: typeof params) => of.b.aliasAs([3, 5]);
  const given = { ...params, b: b(params) };
  const weights = normal(backend, 3, 5);
  const one = valueAndGrad((p: typeof given) => sum(mul(lerp(p.a, p.b, p.share), weights)))(given);
  const composed = (p: typeof given) => add(p.a, mul(sub(p.b, p.a), p.share));
  const two = valueAndGrad((p: typeof given) => sum(mul(composed(p), weights)))(given);
  assertNear(one.value, two.value);
  for (const key of ['a', 'b', 'share'] as const) assertNear(one.grads[key], two.grads[key]);
});

test('lerp refuses other shapes and shares of several elements', () => {
  const backend = cpuBackend();
  const [a, b, c] = [normal(backend, 2, 3), normal(backend, 3, 2), normal(backend, 2)];
  assert.throws(() => lerp(a, b, normal(backend, 1)), ShapeError);
  assert.throws(() => lerp(a, a, c), /share \[2\] must hold one element/);
});

test('concatMatmul is the product of what would be joined, its gradients included', () => {
  const backend = cpuBackend();
  const params = {
    xs: [normal(backend, 4, 3), normal(backend, 4, 5), normal(backend, 4, 1)],
    w: normal(backend, 2, 9),
  };
  const weights = normal(backend, 4, 2);
  const one = valueAndGrad((p: typeof params) => sum(mul(concatMatmul(p.xs, p.w), weights)))(
    params,
  );
  const two = valueAndGrad((p: typeof params) =>
    sum(mul(matmul(concat(p.xs, 1), p.w, { transB: true }), weights)),
  )(params);
  assertNear(one.value, two.value);
  assertNear(one.grads.w, two.grads.w);
  params.xs.forEach((_, i) => {
    assertNear(one.grads.xs[i], two.grads.xs[i]);
  });
});

test('concatMatmul refuses nothing, other rows and widths that do not add up', () => {
  const backend = cpuBackend();
  const w = normal(backend, 2, 9);
  const x = normal(backend, 4, 3);
  assert.throws(() => concatMatmul([], w), ShapeError);
  assert.throws(() => concatMatmul([x, normal(backend, 5, 6)], w), ShapeError);
  assert.throws(
    () => concatMatmul([x, x], w),
    /concatMatmul: \[4,3\], \[4,3\] do not fit \[2,9\] transposed/,
  );
});

test('a gradient that nobody wants is not computed', () => {
  for (const [op, kernels] of [
    [add, ['add']],
    [sub, ['sub']],
    [mul, ['mul', 'mul']],
  ] as const) {
    const { backend, calls } = noting();
    const constant = normal(backend, 2, 3);
    const p = normal(backend, 2, 3);
    calls.length = 0;
    scope(() => valueAndGrad((x: Tensor) => sum(op(x, constant)))(p));
    const elementwise = calls.filter((name) => ['add', 'sub', 'mul', 'neg'].includes(name));
    assert.deepEqual(elementwise, kernels);
  }
});
