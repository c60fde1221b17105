import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  noGrad,
  random,
  scope,
  type Tensor,
  tensor,
  valueAndGrad,
} from '../../../src/tensor/index.ts';
import * as operations from '../../../src/tensor/ops/index.ts';
import { mul, sum } from '../../../src/tensor/ops/index.ts';
import { backends } from '../../support/backends.ts';
import { seed, size } from '../../support/sizes.ts';
import { type Built, CASES, Maker, WITHOUT_GRADIENT } from './gradient-cases.ts';

/**
 * Step of the differences. Five points (see `numeric`) leave an error of h^4 f'''''/30, 1e-6 here
 * times a derivative; the outputs' rounding, 6e-8, is divided by h. 2^-5 balances the two, and
 * being a power of two makes `x + h u` exact.
 */
const STEP = 2 ** -5;
/** Truncation of the differences, relative to the derivative. */
const RELATIVE = 1e-3;
/** Rounding of an output in f32 after a few operations, relative to its size. */
const ROUNDING = 2 ** -21;

/** `sum(weights * f(inputs))` in f64 over the f32 outputs. */
function value(built: Built, inputs: readonly Tensor[], weights: Float32Array): number {
  return scope(() => {
    const y = built.f(inputs).toFloat32();
    return y.reduce((total, element, i) => total + element * weights[i], 0);
  });
}

/** Derivative along `direction` in input `at`: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h. */
function numeric(built: Built, at: number, direction: Float32Array, weights: Float32Array): number {
  const base = built.inputs[at].toFloat32();
  const moved = (h: number) =>
    scope(() => {
      const data = base.map((x, i) => x + h * direction[i]);
      const x = tensor(data, built.inputs[at].shape, { backend: built.inputs[at].backend });
      return value(
        built,
        built.inputs.map((input, i) => (i === at ? x : input)),
        weights,
      );
    });
  const near = moved(STEP) - moved(-STEP);
  const far = moved(2 * STEP) - moved(-2 * STEP);
  return (8 * near - far) / (12 * STEP);
}

function check(built: Built, shapeSeed: number): void {
  const rng = random(shapeSeed).fork('directions');
  const y = noGrad(() => built.f(built.inputs));
  const weights = Float32Array.from({ length: y.numel }, () => rng.normal());
  const scale = Math.hypot(1, ...y.toFloat32().map((element, i) => element * weights[i]));
  const loss = (inputs: readonly Tensor[]) =>
    sum(mul(built.f(inputs), tensor(weights, y.shape, { backend: y.backend })));
  const { grads } = valueAndGrad(loss)(built.inputs);
  built.inputs.forEach((input, at) => {
    // Multiples of 1/16 keep `x + h u` on f32's grid.
    const direction = Float32Array.from({ length: input.numel }, () => (rng.int(33) - 16) / 16);
    const grad = grads[at].toFloat32();
    const analytic = grad.reduce((total, g, i) => total + g * direction[i], 0);
    const expected = numeric(built, at, direction, weights);
    const tolerance = RELATIVE * Math.abs(expected) + (ROUNDING * scale) / STEP;
    assert.deepEqual(grads[at].shape, input.shape);
    assert.ok(
      Math.abs(analytic - expected) <= tolerance,
      `input ${at} [${input.shape}]: vjp gives ${analytic}, differences ${expected} (+- ${tolerance})`,
    );
  });
}

test('every operation has a case, or a reason to have none', () => {
  const exported = Object.entries(operations)
    .filter(([, one]) => typeof one === 'function')
    .map(([name]) => name)
    .sort();
  const known = [...Object.keys(CASES), ...Object.keys(WITHOUT_GRADIENT)].sort();
  assert.deepEqual(known, exported);
});

for (const { name, backend } of backends()) {
  for (const [operation, build] of Object.entries(CASES)) {
    test(`${name}: the vjp of ${operation} equals central differences`, () => {
      fc.assert(
        fc.property(fc.tuple(size, size, size, size), seed, (dims, valueSeed) => {
          scope(() => {
            check(build(new Maker(dims, valueSeed, backend)), valueSeed);
          });
        }),
        { numRuns: 30 },
      );
    });
  }

  test(`${name}: checks leave no memory behind`, () => {
    assert.equal(backend.memory().bytes, 0);
  });
}
