import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  createSideModel,
  headLogits,
  initHead,
  LM_SIDE_NAMES,
  layerMix,
  linearProbe,
  parallelSide,
  SIDE_NAMES,
  type SideModel,
  type SideShape,
} from '../../../../src/model/index.ts';
import {
  disposeTree,
  flatten,
  live,
  random,
  randomNormal,
  ShapeError,
  scope,
  Tensor,
  tensor,
  UsageError,
} from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';
import { SIDE_OPTIONS } from '../../../support/side.ts';

const SHAPE: SideShape = { layers: 3, width: 4, kinds: 2, classes: 5 };
const OPTIONS = { ...SIDE_OPTIONS, rank: 2, alphaStart: 1.5, gateRate: 30 };
const SAMPLES = 6;
/** A handful of f32 operations on values of order one. */
const CLOSE = 1e-6;
/** A sum of the kernel head's 16,384 products, in an order that depends on the number of rows. */
const CLOSE_SUMS = 1e-5;

const near = (actual: ArrayLike<number>, expected: readonly number[], tolerance = CLOSE) => {
  assert.equal(actual.length, expected.length);
  expected.forEach((value, i) => {
    assert.ok(Math.abs(actual[i] - value) <= tolerance, `[${i}]: ${actual[i]}, expected ${value}`);
  });
};

describe('createSideModel', () => {
  it('knows each name, and passes on what concerns it', () => {
    for (const name of SIDE_NAMES) {
      const model = createSideModel(name, SHAPE, OPTIONS);
      assert.equal(model.name, name);
      assert.deepEqual(model.shape, SHAPE);
    }
    const parallel = createSideModel('parallel', SHAPE, OPTIONS);
    assert.equal(parallel.rate('alpha'), 30);
  });

  it('refuses others, with what there is', () => {
    for (const name of ['lora', '', 'constructor', 'Parallel']) {
      assert.throws(() => createSideModel(name, SHAPE, OPTIONS), {
        name: UsageError.name,
        message: /known: parallel, ladder, quantized-side, kernel, mix, probe/,
      });
    }
  });
});

describe('rates and decay by path', () => {
  const byPath = (model: SideModel) => {
    const { backend } = backends()[0];
    return scope(() =>
      Object.fromEntries(
        [...flatten(model.init(random(1), backend)).keys()].map((path) => [
          path,
          [model.rate(path), model.decays(path)],
        ]),
      ),
    );
  };

  it('parallel: gates have their own rate, and they and the bias do not decay', () => {
    const shape = { ...SHAPE, layers: 2 };
    assert.deepEqual(byPath(parallelSide(shape, OPTIONS)), {
      alpha: [30, false],
      beta: [30, false],
      'down.0': [1, true],
      'down.1': [1, true],
      'up.0': [1, true],
      'up.1': [1, true],
      'head.weight': [1, true],
      'head.bias': [1, false],
    });
    assert.equal(parallelSide(shape, { rank: 1 }).rate('alpha'), 1);
  });

  it('ladders: gates have their own rate, and they and the bias do not decay', () => {
    for (const name of ['ladder', 'quantized-side']) {
      for (const classes of [SHAPE.classes, 0]) {
        const rates = byPath(createSideModel(name, { ...SHAPE, classes }, OPTIONS));
        const own = Object.keys(rates).filter((path) => rates[path][0] === 30);
        assert.deepEqual(own, name === 'ladder' ? ['alpha'] : ['alpha', 'share']);
        const still = Object.keys(rates).filter((path) => !rates[path][1]);
        assert.deepEqual(still.sort(), [...(classes ? ['head.bias'] : []), ...own].sort());
      }
    }
  });

  it('mix and probe: only the head decays', () => {
    assert.deepEqual(byPath(layerMix(SHAPE, { mixRate: 7 })), {
      weights: [7, false],
      'head.weight': [1, true],
      'head.bias': [1, false],
    });
    assert.deepEqual(byPath(linearProbe(SHAPE)), { weight: [1, true], bias: [1, false] });
  });
});

for (const { name, backend } of backends()) {
  describe(`side models, ${name}`, () => {
    const make = (values: number[], shape: number[]) => tensor(values, shape, { backend });
    const taps = Array.from({ length: SHAPE.layers }, (_, i) =>
      randomNormal([SAMPLES * SHAPE.kinds, SHAPE.width], 1, random(i + 1), backend),
    );

    it('a head reads the kinds of a sample side by side', () => {
      scope(() => {
        const shape = { layers: 1, width: 2, kinds: 2, classes: 2 };
        const z = make([1, 2, 3, 4, 5, 6, 7, 8], [4, 2]);
        const params = {
          weight: make([1, 0, 0, 0, 0, 10, 100, 1000], [2, 4]),
          bias: make([0.5, -0.5], [2]),
        };
        const logits = headLogits(params, [z], shape);
        assert.deepEqual(logits.shape, [2, 2]);
        near(logits.toFloat32(), [1.5, 20 + 300 + 4000 - 0.5, 5.5, 60 + 700 + 8000 - 0.5]);
        assert.throws(
          () => headLogits(params, [make([1, 2, 3, 4, 5, 6], [3, 2])], shape),
          ShapeError,
        );
      });
    });

    it('start from a head of zeros: every class alike', () => {
      for (const side of SIDE_NAMES) {
        scope(() => {
          const model = createSideModel(side, SHAPE, OPTIONS);
          const logits = model.logits(model.init(random(1), backend), taps);
          assert.deepEqual(logits.shape, [SAMPLES, SHAPE.classes], side);
          assert.ok(logits.toFloat32().every((x) => x === 0));
        });
      }
    });

    it('of a language model, start at the frozen state, from which each may depart', () => {
      for (const side of LM_SIDE_NAMES) {
        scope(() => {
          const shape = { ...SHAPE, kinds: 1, classes: 0 };
          const model = createSideModel(side, shape, OPTIONS);
          const params = model.init(random(1), backend);
          const rows = SAMPLES * SHAPE.kinds;
          const frozen = randomNormal([rows, SHAPE.width], 1, random(9), backend);
          const states = () => model.logits(params, [...taps, frozen]).toFloat32();
          assert.deepEqual(states(), frozen.toFloat32(), side);
          for (const leaf of flatten(params).values()) {
            leaf.write(Float32Array.from({ length: leaf.numel }, (_, i) => Math.sin(i + 1)));
          }
          assert.notDeepEqual(states(), frozen.toFloat32(), side);
        });
      }
    });

    it('parallel starts as a blend of the taps: its adapters add nothing yet', () => {
      scope(() => {
        const model = parallelSide(SHAPE, OPTIONS);
        const params = model.init(random(1), backend);
        near(params.alpha.toFloat32(), [1.5, 1.5, 1.5]);
        near(params.beta.toFloat32(), [0]);
        assert.deepEqual(params.down[0].shape, [4, 2]);
        assert.ok(params.down.every((down) => down.toFloat32().some((x) => x !== 0)));
        assert.ok(params.up.every((up) => up.toFloat32().every((x) => x === 0)));
        assert.notDeepEqual(params.down[0].toFloat32(), params.down[1].toFloat32());
      });
    });

    it('a seed fixes the start', () => {
      scope(() => {
        const start = (seed: number) =>
          parallelSide(SHAPE, OPTIONS).init(random(seed), backend).down[2].toFloat32();
        assert.deepEqual(start(4), start(4));
        assert.notDeepEqual(start(4), start(5));
      });
    });

    it('mix weighs layers by softmax; a probe sees the last alone', () => {
      scope(() => {
        const shape = { layers: 2, width: 2, kinds: 1, classes: 1 };
        const two = [make([1, 2], [1, 2]), make([10, 20], [1, 2])];
        const head = { weight: make([1, 1], [1, 2]), bias: make([0], [1]) };
        const mix = layerMix(shape);
        const even = mix.logits({ weights: make([0, 0], [2]), head }, two);
        near(even.toFloat32(), [16.5]);
        const odd = mix.logits({ weights: make([Math.log(3), 0], [2]), head }, two);
        near(odd.toFloat32(), [0.75 * 3 + 0.25 * 30]);
        near(linearProbe(shape).logits(head, two).toFloat32(), [30]);
      });
    });

    it('samples do not see one another, and leave nothing behind', () => {
      for (const side of SIDE_NAMES) {
        const model = createSideModel(side, SHAPE, OPTIONS);
        const params = model.init(random(1), backend);
        for (const leaf of flatten(params).values()) {
          leaf.write(Float32Array.from({ length: leaf.numel }, (_, i) => Math.sin(i + 1)));
        }
        const before = live(backend).bytes;
        scope(() => {
          const all = model.logits(params, taps).toFloat32();
          const third = taps.map((tap) => {
            const size = SHAPE.kinds * SHAPE.width;
            const values = tap.toFloat32().subarray(3 * size, 4 * size);
            return make([...values], [SHAPE.kinds, SHAPE.width]);
          });
          const alone = model.logits(params, third);
          const { classes } = SHAPE;
          const tolerance = side === 'kernel' ? CLOSE_SUMS : CLOSE;
          near(alone.toFloat32(), [...all.subarray(3 * classes, 4 * classes)], tolerance);
        });
        assert.equal(live(backend).bytes, before, side);
        disposeTree(params);
      }
    });

    it('a dense head weighs every state by itself, and divides by the root of their number', () => {
      scope(() => {
        const shape = { layers: 4, width: 1, kinds: 1, classes: 1 };
        const states = [1, 2, 3, 4].map((value) => make([value], [1, 1]));
        const params = { weight: make([1000, 100, 10, 1], [1, 4]), bias: make([0.5], [1]) };
        near(headLogits(params, states, shape).toFloat32(), [1234 / 2 + 0.5]);
        const dense = parallelSide(SHAPE, { ...OPTIONS, head: 'dense' });
        const gated = parallelSide(SHAPE, { ...OPTIONS, head: 'gated' });
        assert.deepEqual(dense.init(random(1), backend).head.weight.shape, [5, 3 * 8]);
        assert.deepEqual(gated.init(random(1), backend).head.weight.shape, [5, 8]);
      });
    });

    it('initHead makes the shapes that headLogits takes', () => {
      scope(() => {
        const head = initHead(SHAPE, backend);
        assert.ok(head.weight instanceof Tensor);
        assert.deepEqual([head.weight.shape, head.bias.shape], [[5, 8], [5]]);
      });
    });
  });
}
