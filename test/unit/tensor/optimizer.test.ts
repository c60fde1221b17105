import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  adamw,
  clipScale,
  cpuBackend,
  full,
  ShapeError,
  setBackend,
  tensor,
} from '../../../src/tensor/index.ts';

setBackend(cpuBackend());

/** f32 state against f64 arithmetic over ten steps. */
const CLOSE = 1e-6;

test('ten AdamW steps follow the paper', () => {
  const [learningRate, beta1, beta2, eps, weightDecay] = [0.1, 0.8, 0.9, 1e-6, 0.05];
  let [p, m, v] = [1.5, 0, 0];
  let state = { p: tensor([1.5]), m: full([1], 0), v: full([1], 0) };
  for (let step = 1; step <= 10; step++) {
    const g = Math.sin(step);
    const scale = 0.5 + step / 20;
    const scaled = g * scale;
    m = beta1 * m + (1 - beta1) * scaled;
    v = beta2 * v + (1 - beta2) * scaled ** 2;
    const [mHat, vHat] = [m / (1 - beta1 ** step), v / (1 - beta2 ** step)];
    p -= learningRate * (mHat / (Math.sqrt(vHat) + eps) + weightDecay * p);
    state = adamw(state.p, state.m, state.v, tensor([g]), tensor([scale]), {
      learningRate,
      beta1,
      beta2,
      eps,
      weightDecay,
      step,
    });
    assert.ok(Math.abs(state.p.item() - p) < CLOSE, `step ${step}: ${state.p.item()}, ${p}`);
  }
});

test('the first step without decay is the learning rate against the sign', () => {
  const zero = full([3], 0);
  const { p } = adamw(full([3], 1), zero, zero, tensor([5, -0.01, 0]), full([1], 1), {
    learningRate: 0.5,
    step: 1,
  });
  const moved = [...p.toFloat32()];
  [0.5, 1.5, 1].forEach((value, i) => {
    assert.ok(Math.abs(moved[i] - value) < CLOSE);
  });
});

test('adamw refuses what does not fit', () => {
  const [a, b, one] = [full([2], 0), full([3], 0), full([1], 1)];
  assert.throws(() => adamw(a, a, a, b, one, { learningRate: 1, step: 1 }), ShapeError);
  assert.throws(() => adamw(a, a, a, a, a, { learningRate: 1, step: 1 }), ShapeError);
  assert.throws(() => adamw(a, a, a, a, one, { learningRate: 1, step: 0 }), ShapeError);
});

test('clipScale brings the global norm to its limit and leaves small gradients alone', () => {
  const grads = { a: tensor([3, 0]), b: [tensor([[0], [4]])] };
  const clipped = clipScale(grads, 1);
  assert.ok(Math.abs(clipped.norm.item() - 5) < CLOSE);
  assert.ok(Math.abs(clipped.scale.item() - 1 / (5 + 1e-6)) < CLOSE);
  assert.deepEqual(clipped.scale.shape, [1]);
  assert.equal(clipScale(grads, 10).scale.item(), 1);
  assert.equal(clipScale(grads, Number.POSITIVE_INFINITY).scale.item(), 1);
  assert.equal(clipScale({ a: tensor([0, 0]) }, 1).scale.item(), 1);
  assert.throws(() => clipScale({}, 1), ShapeError);
});
