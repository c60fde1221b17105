import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  createSideModel,
  HEAD_KINDS,
  type HeadKind,
  SIDE_NAMES,
  type SideName,
  type SideShape,
} from '../../../../src/model/index.ts';
import {
  crossEntropy,
  flatten,
  live,
  mapTree,
  type Random,
  random,
  randomNormal,
  scope,
  type Tensor,
  type Tree,
  tensor,
  valueAndGrad,
} from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';
import { type NaiveParams, naiveLoss, naiveSideLogits } from '../../../support/naive-side.ts';
import { SIDE_OPTIONS } from '../../../support/side.ts';
import { seed } from '../../../support/sizes.ts';

/** f32 against float64: some fifty operations a layer, five layers, on values of a few units. */
const FORWARD = 2e-5;
/**
 * A derivative along a direction, f32 against float64. Its terms cancel, so the error is counted
 * against the length of the gradient, with a floor of the forward's own rounding.
 */
const GRADIENT = 1e-4;
const FLOOR = 2e-6;
/** Step of the differences, in float64: h^2 f'''/6 is 1e-10 and rounding 1e-11, times derivatives. */
const STEP = 1e-5;

const length = fc.constantFrom(1, 2, 3, 5, 8);

/**
 * The RMS norm of one number is its sign, but for eps: no derivative to speak of near zero. Ladders'
 * states are 8 and 16 times as narrow as taps.
 */
const LEAST_WIDTH: Partial<Record<SideName, number>> = {
  ...{ parallel: 2, ladder: 9, 'quantized-side': 17 },
};

/** The kernel head is solved and takes no step: its features have no derivative here. */
const STEPPED = SIDE_NAMES.filter((name) => name !== 'kernel');

const jobs = (names: readonly SideName[]) =>
  fc
    .record({
      name: fc.constantFrom(...names),
      layers: fc.constantFrom(1, 2, 3, 5),
      width: fc.constantFrom(1, 2, 4, 7, 8, 17),
      kinds: fc.constantFrom(1, 2, 3),
      classes: fc.constantFrom(1, 2, 3, 10),
      samples: length,
      rank: fc.constantFrom(1, 2, 4, 5),
      head: fc.constantFrom(...HEAD_KINDS),
      seed,
    })
    .map((one) => ({ ...one, width: Math.max(LEAST_WIDTH[one.name] ?? 1, one.width) }));

interface Case {
  readonly name: SideName;
  readonly shape: SideShape;
  readonly head: HeadKind;
  readonly params: Tree;
  readonly naive: Map<string, Float64Array>;
  readonly taps: Tensor[];
  readonly targets: Int32Array;
  readonly rng: Random;
  readonly logits: (params: Tree) => Tensor;
}

for (const { name: backendName, backend } of backends()) {
  const holds = (names: readonly SideName[], body: (given: Case) => void, numRuns: number) =>
    fc.assert(
      fc.property(jobs(names), ({ name, samples, rank, head, seed: from, ...shape }) => {
        const before = live(backend).bytes;
        scope(() => {
          const rng = random(from);
          const model = createSideModel(name, shape, { ...SIDE_OPTIONS, rank, head });
          // From init's zeros most gradients are zero: other values everywhere.
          const params = mapTree(model.init(rng, backend), (leaf) =>
            randomNormal(leaf.shape, 0.7, rng, backend),
          );
          const taps = Array.from({ length: shape.layers }, () =>
            randomNormal([samples * shape.kinds, shape.width], 1, rng, backend),
          );
          const naive = new Map(
            [...flatten(params)].map(([path, leaf]) => [path, Float64Array.from(leaf.toFloat32())]),
          );
          const targets = Int32Array.from({ length: samples }, () => rng.int(shape.classes));
          const logits = (p: Tree) => model.logits(p, taps);
          body({ name, shape, head, params, naive, taps, targets, rng, logits });
        });
        assert.equal(live(backend).bytes, before, 'all memory came back');
      }),
      { numRuns },
    );

  describe(`side models, ${backendName}`, () => {
    it('give the logits of their formulas', () => {
      holds(
        SIDE_NAMES,
        ({ name, shape, head, params, naive, taps, logits }) => {
          const inputs = taps.map((tap) => tap.toFloat32());
          const expected = naiveSideLogits(name, shape, naive, inputs, head).flat();
          logits(params)
            .toFloat32()
            .forEach((value, i) => {
              const error = Math.abs(value - expected[i]);
              assert.ok(error <= FORWARD * (1 + Math.abs(expected[i])), `${value}, ${expected[i]}`);
            });
        },
        60,
      );
    });

    it('have the gradients of central differences', () => {
      holds(
        STEPPED,
        ({ name, shape, head, params, naive, taps, targets, rng, logits }) => {
          const inputs = taps.map((tap) => tap.toFloat32());
          const lossAt = (p: NaiveParams) =>
            naiveLoss(naiveSideLogits(name, shape, p, inputs, head), targets);
          const wanted = tensor(targets, undefined, { backend });
          const { value, grads } = valueAndGrad((p: Tree) => crossEntropy(logits(p), wanted))(
            params,
          );
          const loss = lossAt(naive);
          assert.ok(
            Math.abs(value.item() - loss) <= FORWARD * (1 + loss),
            `${value.item()}, ${loss}`,
          );
          for (const [path, grad] of flatten(grads)) {
            const base = naive.get(path) as Float64Array;
            const direction = base.map(() => rng.normal());
            const moved = (h: number) =>
              lossAt(new Map([...naive, [path, base.map((x, i) => x + h * direction[i])]]));
            const numeric = (moved(STEP) - moved(-STEP)) / (2 * STEP);
            const values = grad.toFloat32();
            const analytic = values.reduce((sum, g, i) => sum + g * direction[i], 0);
            const size = Math.hypot(...values) * Math.hypot(...direction);
            assert.ok(
              Math.abs(analytic - numeric) <= GRADIENT * size + FLOOR,
              `${name} ${path}: ${analytic}, differences ${numeric}`,
            );
          }
        },
        60,
      );
    });
  });
}
