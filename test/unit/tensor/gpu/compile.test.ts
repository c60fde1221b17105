import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { HEAD_KINDS, ladderSide, quantizedSide } from '../../../../src/model/index.ts';
import {
  add,
  compile,
  cpuBackend,
  disposeTree,
  gpuBackend,
  mul,
  ones,
  setBackend,
  sum,
  type Tensor,
  tensor,
} from '../../../../src/tensor/index.ts';
import { furthest, trainSide } from '../../../support/train-steps.ts';

const gpu = await gpuBackend({ mode: 'webasm' });
after(() => gpu.destroy());

/** Nine steps in f32 against nine in f64 sums; AdamW turns a rounding of a gradient into its own. */
const TRAINED = 2e-5;

describe('compile', () => {
  for (const head of HEAD_KINDS) {
    test(`several whole train steps are one fused plan, and give what cpu gives: head ${head}`, async () => {
      const expected = await trainSide(cpuBackend(), { calls: 3, head });
      const before = gpu.memory().bytes;
      const got = await trainSide(gpu, { calls: 3, head });
      assert.equal(got.executor, 'fused-sync');
      assert.equal(got.fallbackReason, null);
      assert.equal(got.plans, 1, 'another learning rate is no other plan');
      assert.ok(furthest(got.steps, expected.steps) < TRAINED, `${got.steps} ${expected.steps}`);
      assert.ok(furthest(got.params, expected.params) < TRAINED);
      assert.equal(new Set(got.bytes).size, 1, `memory grew: ${got.bytes}`);
      assert.equal(gpu.memory().bytes, before);
    });
  }

  for (const make of [ladderSide, quantizedSide]) {
    test(`so are those of other side networks: ${make.name}`, async () => {
      const expected = await trainSide(cpuBackend(), { calls: 2, head: 'dense', make });
      const got = await trainSide(gpu, { calls: 2, head: 'dense', make });
      assert.equal(got.executor, 'fused-sync');
      assert.equal(got.fallbackReason, null);
      assert.equal(got.plans, 1);
      assert.ok(furthest(got.params, expected.params) < TRAINED);
    });
  }

  test('a batch of another size gets a plan of its own, and the first one is kept', async () => {
    const rows = (call: number) => (call % 2 === 0 ? 4 : 3);
    const expected = await trainSide(cpuBackend(), { calls: 4, rows });
    const got = await trainSide(gpu, { calls: 4, rows });
    assert.equal(got.plans, 2);
    assert.ok(furthest(got.params, expected.params) < TRAINED);
  });

  test('a thousand steps learn, and leave memory, kernels and plans as they were', async () => {
    const settings = { calls: 125, stepsACall: 8, layers: 1, rows: () => 4 };
    await trainSide(gpu, { ...settings, calls: 1 });
    const { kernels, onDevice } = gpu.resources();
    const { steps, bytes, plans } = await trainSide(gpu, settings);
    assert.equal(steps.length, 2000);
    assert.ok(steps[1998] < steps[0] - 0.5, `the loss went from ${steps[0]} to ${steps[1998]}`);
    assert.ok(steps.every(Number.isFinite));
    assert.equal(new Set(bytes).size, 1, `memory grew: ${bytes}`);
    assert.deepEqual(gpu.resources(), { kernels, onDevice });
    // AdamW's first correction comes to 1 after some 350 steps: equal numbers, now for one step of a
    // call and then for more, are other plans.
    assert.ok(plans <= 8, `${plans} plans`);
  });

  test('looking at a value that is yet to be computed is refused, at what is here allowed', async () => {
    setBackend(gpu);
    const x = tensor([1, 2, 3]);
    const looks = compile((a: Tensor) => mul(a, tensor(a.toFloat32())), gpu);
    const y = await looks(x);
    assert.deepEqual([...y.toFloat32()], [1, 4, 9]);
    const bytes = gpu.memory().bytes;
    const early = compile((a: Tensor) => tensor([sum(a).item()]), gpu);
    await assert.rejects(early(x), { code: 'E_BACKEND', message: /compile: the step reads/ });
    assert.equal(gpu.memory().bytes, bytes, 'what the failed step made is given back');
    // And the backend goes on.
    assert.equal(sum(y).item(), 14);
    disposeTree([x, y]);
  });

  test('arguments pass through, and what is computed before or beside a step is right', async () => {
    setBackend(gpu);
    const pending = add(tensor([1, 2]), tensor([10, 20])); // not computed yet
    let aside: Tensor | undefined;
    const step = compile((a: Tensor, factor: number) => {
      aside = mul(a, a);
      return { same: a, twice: mul(a, tensor([factor, factor])), one: ones([2]) };
    }, gpu);
    const { same, twice, one } = await step(pending, 2);
    assert.equal(same, pending);
    assert.deepEqual([...twice.toFloat32()], [22, 44]);
    assert.deepEqual([...one.toFloat32()], [1, 1]);
    assert.equal(aside?.disposed, true, 'a scope is around the step');
    disposeTree([same, twice, one]);
  });

  test('on a backend without plans a step runs as it stands', async () => {
    const cpu = cpuBackend();
    const step = compile((a: Tensor) => mul(a, a), cpu);
    const x = tensor([3], undefined, { backend: cpu });
    assert.equal((await step(x)).item(), 9);
    assert.equal(step.executor, 'cpu');
  });
});
