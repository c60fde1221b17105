import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  adamw,
  add,
  clipScale,
  cpuBackend,
  crossEntropy,
  DisposedError,
  disposeTree,
  full,
  gelu,
  keep,
  layerNorm,
  live,
  matmul,
  mean,
  ones,
  random,
  randomNormal,
  rmsNorm,
  scope,
  setBackend,
  stack,
  sum,
  sumTo,
  type Tensor,
  tensor,
  UsageError,
  valueAndGrad,
  zeros,
} from '../../../src/tensor/index.ts';

const backend = cpuBackend();
setBackend(backend);

test('a scope frees what it does not return', () => {
  const before = live().bytes;
  let inside: Tensor | undefined;
  const kept = scope(() => {
    inside = full([100], 2);
    return { total: sum(inside), rest: [add(inside, inside), 'text', 1] };
  });
  assert.throws(() => inside?.toArray(), DisposedError);
  assert.equal(kept.total.item(), 200);
  assert.equal(live().bytes, before + 4 + 400);
  disposeTree(kept);
  assert.equal(live().bytes, before);
});

test('scopes nest: what one returns, the next one owns', () => {
  const before = live().bytes;
  const value = scope(() => {
    const inner = scope(() => add(ones([10]), ones([10])));
    assert.equal(live().bytes, before + 40);
    return sum(inner).item();
  });
  assert.equal(value, 20);
  assert.equal(live().bytes, before);
});

test('keep takes tensors out of all scopes', () => {
  const kept: Tensor[] = [];
  scope(() => {
    scope(() => {
      kept.push(keep(ones([3])), keep({ deep: [ones([2])] }).deep[0]);
    });
  });
  assert.deepEqual(
    kept.map((one) => one.disposed),
    [false, false],
  );
  disposeTree(kept);
});

test('a throw frees everything', () => {
  const before = live().bytes;
  assert.throws(
    () =>
      scope(() => {
        ones([1000]);
        throw new Error('stop');
      }),
    /stop/,
  );
  assert.equal(live().bytes, before);
});

test('a promise cannot leave a scope', () => {
  const before = live().bytes;
  assert.throws(
    () =>
      scope(async () => {
        ones([10]);
        throw new Error('nobody sees this one');
      }),
    UsageError,
  );
  assert.equal(live().bytes, before);
});

test('operations leave no hidden tensors, with or without a scope', () => {
  const x = ones([4, 8]);
  const w = ones([8]);
  const targets = tensor(new Int32Array([0, 1, 2, -100]));
  const before = live().allocations;
  const runs: Record<string, () => Tensor> = {
    rmsNorm: () => rmsNorm(x, w, 1e-5),
    layerNorm: () => layerNorm(x, w, w, 1e-5),
    mean: () => mean(x),
    crossEntropy: () => crossEntropy(x, targets),
    stack: () => stack([x, x]),
    sumTo: () => sumTo(x, [4, 1]),
  };
  for (const [name, run] of Object.entries(runs)) {
    run().dispose();
    assert.equal(live().allocations, before, name);
  }
  disposeTree(clipScale({ x, w }, 1));
  assert.equal(live().allocations, before, 'clipScale');
  disposeTree([x, w, targets]);
});

test('live bytes are flat over 1,000 training steps', () => {
  const rng = random(1);
  const x = randomNormal([6, 5], 1, rng);
  const targets = tensor(new Int32Array([0, 1, 2, 0, 1, -100]));
  let params = { up: randomNormal([5, 7], 0.3, rng), down: randomNormal([7, 3], 0.3, rng) };
  const zero = () => ({ up: zeros([5, 7]), down: zeros([7, 3]) });
  let moments = { m: zero(), v: zero() };
  const lossOf = valueAndGrad((p: typeof params) =>
    crossEntropy(
      scope(() => matmul(gelu(matmul(x, p.up)), p.down)),
      targets,
    ),
  );
  const losses: number[] = [];
  let flat: number | undefined;
  for (let step = 1; step <= 1000; step++) {
    const old = [params, moments];
    const next = scope(() => {
      const { value, grads } = lossOf(params);
      const { scale } = clipScale(grads, 1);
      const stepped = (name: 'up' | 'down') =>
        adamw(params[name], moments.m[name], moments.v[name], grads[name], scale, {
          learningRate: 0.01,
          step,
        });
      losses.push(value.item());
      return { up: stepped('up'), down: stepped('down') };
    });
    params = { up: next.up.p, down: next.down.p };
    moments = {
      m: { up: next.up.m, down: next.down.m },
      v: { up: next.up.v, down: next.down.v },
    };
    disposeTree(old);
    flat ??= live().bytes;
    assert.equal(live().bytes, flat);
  }
  assert.ok(losses[999] < losses[0] / 10, `loss went from ${losses[0]} to ${losses[999]}`);
  disposeTree([params, moments, x, targets]);
  assert.equal(live().bytes, 0);
});
