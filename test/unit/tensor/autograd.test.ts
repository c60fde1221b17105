import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  abs,
  add,
  attention,
  BackendError,
  cpuBackend,
  crossEntropy,
  DTypeError,
  detach,
  disposeTree,
  exp,
  full,
  isRecording,
  isTracked,
  keep,
  live,
  matmul,
  max,
  maximum,
  mul,
  noGrad,
  record,
  relu,
  reshape,
  ShapeError,
  scope,
  setBackend,
  square,
  sum,
  type Tensor,
  tensor,
  UsageError,
  valueAndGrad,
  zeros,
} from '../../../src/tensor/index.ts';

const backend = cpuBackend();
setBackend(backend);

const numbers = (x: Tensor) => [...x.toFloat32()];

test('an input used twice gets the sum of its gradients', () => {
  const x = tensor([2, 3]);
  const { value, grads } = valueAndGrad((p: { x: Tensor }) => sum(mul(p.x, add(p.x, p.x))))({ x });
  assert.equal(value.item(), 26);
  assert.deepEqual(numbers(grads.x), [8, 12]);
  assert.deepEqual(numbers(valueAndGrad((p: Tensor) => sum(add(p, p)))(x).grads), [2, 2]);
});

test('a parameter without use gets zeros of its shape', () => {
  const { grads } = valueAndGrad((p: { used: Tensor; unused: Tensor }) => sum(p.used))({
    used: tensor([1]),
    unused: tensor([[1, 2, 3]]),
  });
  assert.deepEqual(grads.unused.shape, [1, 3]);
  assert.deepEqual(numbers(grads.unused), [0, 0, 0]);
});

test('gradients that share memory are disposed apart', () => {
  const { grads } = valueAndGrad((p: { a: Tensor; b: Tensor }) => sum(add(p.a, p.b)))({
    a: tensor([1, 2]),
    b: tensor([3, 4]),
  });
  grads.a.dispose();
  assert.deepEqual(numbers(grads.b), [1, 1]);
});

test('a leaf that is in the tree twice has its whole gradient at both places', () => {
  const x = tensor([3]);
  const { grads } = valueAndGrad((p: Tensor[]) => sum(mul(p[0], p[1])))([x, x]);
  grads[0].dispose();
  assert.deepEqual(numbers(grads[1]), [6]);
});

test('the loss may be a parameter, or independent of all', () => {
  const x = tensor(5);
  const same = valueAndGrad((p: Tensor) => p)(x);
  assert.deepEqual([same.value.item(), same.grads.item()], [5, 1]);
  const other = valueAndGrad((_: Tensor) => full([], 2))(x);
  assert.deepEqual([other.value.item(), other.grads.item()], [2, 0]);
});

test('only what is between parameters and loss is recorded', () => {
  assert.equal(isRecording(), false);
  const constant = tensor([1, 2]);
  valueAndGrad((p: Tensor) => {
    assert.equal(isRecording(), true);
    assert.equal(isTracked(square(constant)), false);
    assert.equal(isTracked(square(p)), true);
    assert.equal(isTracked(detach(p)), false);
    noGrad(() => {
      assert.equal(isRecording(), false);
      assert.equal(isTracked(square(p)), false);
    });
    assert.equal(isRecording(), true);
    return sum(p);
  })(tensor([3, 4]));
  assert.equal(isRecording(), false);
  assert.equal(isTracked(constant), false);
});

test('detach and noGrad stop gradients', () => {
  const x = tensor([3]);
  const loss = (p: Tensor) =>
    sum(
      add(
        mul(detach(p), p),
        noGrad(() => square(p)),
      ),
    );
  assert.deepEqual(numbers(valueAndGrad(loss)(x).grads), [3]);
});

test('recording ends when the loss throws', () => {
  const before = live().bytes;
  const x = tensor([1]);
  const run = valueAndGrad((p: Tensor): Tensor => {
    exp(p);
    throw new Error('stop');
  });
  assert.throws(() => run(x), /stop/);
  assert.equal(isRecording(), false);
  x.dispose();
  assert.equal(live().bytes, before);
});

test('scopes inside the loss keep what the way back needs', () => {
  const before = live().bytes;
  const x = tensor([0.5, -1]);
  const plain = valueAndGrad((p: Tensor) => sum(square(exp(mul(p, p)))))(x);
  const nested = valueAndGrad((p: Tensor) =>
    scope(() => sum(scope(() => square(scope(() => exp(mul(p, p))))))),
  )(x);
  assert.deepEqual(numbers(nested.grads), numbers(plain.grads));
  // Without recording the same scopes free at once.
  const { allocations } = live();
  noGrad(() =>
    scope(() => {
      scope(() => void exp(x));
      assert.equal(live().allocations, allocations);
    }),
  );
  disposeTree([x, plain, nested]);
  assert.equal(live().bytes, before);
});

test('only value and gradients survive', () => {
  const p = { w: full([3, 4], 0.1), b: full([4], 0.2) };
  const x = full([2, 3], 1);
  const before = live();
  const step = valueAndGrad((q: typeof p) => sum(square(add(matmul(x, q.w), q.b))));
  const result = step(p);
  assert.equal(live().bytes, before.bytes + 4 * (1 + 12 + 4));
  assert.equal(live().allocations, before.allocations + 3);
  disposeTree([p, x, result]);
});

test('gradients between operations are freed on the way', () => {
  const x = keep(full([1000], 1));
  const depth = 50;
  const forward = () => {
    let y = x;
    for (let i = 0; i < depth; i++) y = add(y, y);
    return y;
  };
  const before = live().bytes;
  const { grads, value } = valueAndGrad((p: Tensor) => {
    let y = p;
    for (let i = 0; i < depth; i++) y = square(y);
    return sum(y);
  })(x);
  // The values of the way there, and a handful of gradients: not one for each value.
  const peak = live().peakBytes - before;
  assert.ok(peak < (depth + 10) * 4000, `peak of ${peak} bytes for ${depth} steps`);
  disposeTree([grads, value]);
  assert.equal(
    scope(() => forward().numel),
    1000,
  );
  x.dispose();
});

test('what cannot be differentiated is refused', () => {
  const x = tensor([1, 2]);
  assert.throws(() => valueAndGrad((p: Tensor) => p)(x), {
    name: 'ShapeError',
    message: 'valueAndGrad: loss has shape [2]',
  });
  assert.throws(() => valueAndGrad(() => sum(x))(tensor(new Int32Array(1))), DTypeError);
  const inner = valueAndGrad((p: Tensor) => sum(p));
  assert.throws(() => valueAndGrad((p: Tensor) => inner(p).value)(x), UsageError);
  const constant = valueAndGrad((p: Tensor) => add(sum(p), noGrad(() => inner(x)).value))(x);
  assert.deepEqual(numbers(constant.grads), [1, 1]);
  const wrong = (p: Tensor) => sum(record(zeros([2]), [p], () => [zeros([3])]));
  assert.throws(() => valueAndGrad(wrong)(x), ShapeError);
  const qkv = zeros([1, 1, 2]);
  const past = { k: qkv, v: qkv, length: 1 };
  const segments = tensor(new Int32Array([0, 1]), [1, 2]);
  const seeing = (p: Tensor) => sum(attention(p, p, p, { segments, causal: true, past }));
  assert.throws(() => valueAndGrad(seeing)(qkv), BackendError);
});

test("a vjp that hands back somebody else's tensor costs nobody anything", () => {
  const w = tensor([2, 3]);
  const loss = (p: Tensor) =>
    reshape(
      record(full([1], 0), [p], () => [w]),
      [],
    );
  const { grads } = valueAndGrad(loss)(tensor([1, 1]));
  disposeTree(grads);
  assert.deepEqual(numbers(w), [2, 3]);
});

test('at kinks and ties gradients are shared or zero', () => {
  const grad = (f: (x: Tensor) => Tensor, ...values: number[]) =>
    numbers(valueAndGrad((p: Tensor) => sum(f(p)))(tensor(values)).grads);
  assert.deepEqual(grad(relu, -1, 0, 2), [0, 0, 1]);
  assert.deepEqual(grad(abs, -1, 0, 2), [-1, 0, 1]);
  assert.deepEqual(
    grad((x) => max(x), 1, 4, 4),
    [0, 0.5, 0.5],
  );
  assert.deepEqual(
    grad((x) => maximum(x, tensor([1, 1, 1])), 0, 1, 2),
    [0, 0.5, 1],
  );
});

test('rows whose target is -100 do not count', () => {
  const logits = tensor([
    [1, 2, 3],
    [0, 0, 0],
    [9, 9, 9],
  ]);
  const loss = (targets: number[]) => (p: Tensor) =>
    crossEntropy(p, tensor(Int32Array.from(targets)));
  const { value, grads } = valueAndGrad(loss([-100, 1, -100]))(logits);
  assert.ok(Math.abs(value.item() - Math.log(3)) < 1e-6);
  assert.deepEqual(numbers(grads).slice(0, 3), [0, 0, 0]);
  assert.deepEqual(numbers(grads).slice(6), [0, 0, 0]);
  const none = valueAndGrad(loss([-100, -100, -100]))(logits);
  assert.equal(none.value.item(), 0);
  assert.deepEqual(numbers(none.grads), new Array(9).fill(0));
});
