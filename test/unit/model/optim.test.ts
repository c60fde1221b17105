import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { adamwInit, adamwStep, warmupCosine } from '../../../src/model/index.ts';
import {
  disposeTree,
  flatten,
  live,
  scope,
  type Tensor,
  tensor,
} from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';

/** One f32 step against float64. */
const CLOSE = 1e-6;

const near = (actual: number, expected: number, what = '') =>
  assert.ok(Math.abs(actual - expected) <= CLOSE, `${what}: ${actual}, expected ${expected}`);

describe('warmupCosine', () => {
  it('rises in a straight line, then falls along half a cosine to 0', () => {
    const rate = warmupCosine({ peak: 2, warmupSteps: 4, totalSteps: 12 });
    const values = Array.from({ length: 13 }, (_, step) => rate(step));
    const expected = [0.5, 1, 1.5, 2];
    for (let k = 0; k <= 8; k++) expected.push(1 + Math.cos((Math.PI * k) / 8));
    values.forEach((value, step) => {
      near(value, expected[step], `step ${step}`);
    });
    assert.equal(rate(12), 0);
    assert.equal(rate(100), 0, 'it stays there');
    near(rate(8), 1, 'half-way');
  });

  it('starts at the peak without a warm-up', () => {
    const rate = warmupCosine({ peak: 1e-3, warmupSteps: 0, totalSteps: 10 });
    assert.equal(rate(0), 1e-3);
    near(rate(5), 0.5e-3);
  });

  it('is a number between 0 and the peak in degenerate schedules', () => {
    for (const [warmupSteps, totalSteps] of [
      [0, 0],
      [0, 1],
      [5, 5],
      [9, 3],
      [1, 1],
    ]) {
      const rate = warmupCosine({ peak: 1, warmupSteps, totalSteps });
      for (let step = 0; step < 12; step++) {
        const value = rate(step);
        assert.ok(value >= 0 && value <= 1, `${warmupSteps}/${totalSteps} at ${step}: ${value}`);
      }
    }
  });
});

for (const { name, backend } of backends()) {
  describe(`adamwStep, ${name}`, () => {
    const leaf = (...values: number[]) => tensor(values, undefined, { backend });
    const make = (a: number[], b: number[]) => ({ alpha: leaf(...a), head: { bias: leaf(...b) } });
    const values = (tree: unknown) =>
      Object.fromEntries([...flatten(tree)].map(([path, t]) => [path, [...t.toFloat32()]]));

    it('first step: every entry moves by its rate against its gradient', () => {
      scope(() => {
        const params = make([1, 2], [3]);
        const asked: string[] = [];
        const stepped = adamwStep(params, make([0.1, -40], [0.5]), adamwInit(params), {
          learningRate: 0.1,
          weightDecay: 0,
          maxGradNorm: Number.POSITIVE_INFINITY,
          rate: (path) => {
            asked.push(path);
            return path === 'alpha' ? 3 : 1;
          },
        });
        assert.deepEqual(asked, ['alpha', 'head.bias']);
        const { alpha, 'head.bias': bias } = values(stepped.params);
        near(alpha[0], 1 - 0.3);
        near(alpha[1], 2 + 0.3);
        near(bias[0], 3 - 0.1);
        assert.equal(stepped.state.step, 1);
      });
    });

    it('decays what `decays` names, whatever the gradient, at the rate of its path', () => {
      scope(() => {
        const params = make([1], [1]);
        const { params: next } = adamwStep(params, make([0], [0]), adamwInit(params), {
          learningRate: 0.1,
          weightDecay: 0.5,
          rate: (path) => (path === 'alpha' ? 2 : 1),
          decays: (path) => path === 'alpha',
        });
        near(values(next).alpha[0], 1 - 0.2 * 0.5);
        assert.equal(values(next)['head.bias'][0], 1);
      });
    });

    it('clips by the norm over all leaves and reports it as it was', () => {
      scope(() => {
        const params = make([0, 0], [0]);
        const grads = make([3, 0], [4]);
        const step = (maxGradNorm: number) =>
          adamwStep(params, grads, adamwInit(params), { learningRate: 1, maxGradNorm });
        const clipped = step(1);
        near(clipped.gradNorm.item(), 5);
        // m = (1 - beta1) g / 5
        near(values(clipped.state.m).alpha[0], 0.1 * 0.6);
        near(values(clipped.state.m)['head.bias'][0], 0.1 * 0.8);
        near(values(clipped.state.v)['head.bias'][0], 1e-3 * 0.64);
        for (const most of [5.5, Number.POSITIVE_INFINITY]) {
          near(values(step(most).state.m).alpha[0], 0.3, `norm up to ${most}`);
        }
        const still = adamwStep(params, make([0, 0], [0]), adamwInit(params), { learningRate: 1 });
        assert.deepEqual(values(still.params), values(params), 'a gradient of zero moves nothing');
      });
    });

    it('changes none of its arguments, and leaves only what it returns', () => {
      const params = make([1, 2], [3]);
      const grads = make([0.1, 0.2], [0.3]);
      const state = adamwInit(params);
      const before = [values(params), values(grads), values(state.m)];
      const bytes = live(backend).bytes;
      const stepped = scope(() => adamwStep(params, grads, state, { learningRate: 0.1 }));
      assert.deepEqual([values(params), values(grads), values(state.m)], before);
      const kept: Tensor[] = [...flatten(stepped).values()];
      assert.equal(kept.length, 3 * 2 + 1);
      disposeTree(stepped);
      assert.equal(live(backend).bytes, bytes);
      disposeTree([params, grads, state]);
    });
  });
}
