import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import {
  adamwInit,
  adamwStep,
  type ParallelParams,
  parallelSide,
  SIDE_RMS_EPS,
} from '../../src/model/index.ts';
import {
  type Backend,
  crossEntropy,
  flatten,
  gpuBackend,
  type Nested,
  rmsNorm,
  scope,
  type Tensor,
  tensor,
  valueAndGrad,
} from '../../src/tensor/index.ts';
import { backends } from '../support/backends.ts';

/** One parameter tree as the reference spells it. */
interface ReferenceTree {
  readonly alpha: number[];
  readonly down: number[][][];
  readonly up: number[][][];
  readonly beta: number;
  readonly headW: number[][];
  readonly headB: number[];
}

/** PyTorch in float64; see scripts/make-parity-fixtures.mjs. */
interface Reference {
  readonly L: number;
  readonly d: number;
  readonly r: number;
  readonly n: number;
  readonly C: number;
  /** Hidden states of each layer, before the RMS norm. */
  readonly A: number[][][];
  readonly y: number[];
  readonly params: ReferenceTree;
  readonly logits: number[][];
  readonly loss: number;
  readonly grads: ReferenceTree;
  readonly adamw: {
    lr: number;
    betas: [number, number];
    eps: number;
    weight_decay: number;
    max_grad_norm: number;
  };
  readonly losses: number[];
  readonly grad_norms: number[];
  readonly after: ReferenceTree;
}

const reference: Reference = JSON.parse(
  readFileSync(new URL('../fixtures/side-network.json', import.meta.url), 'utf8'),
);

/**
 * Values of order one after some twenty f32 operations, each rounded to 6e-8 of itself. The tanh
 * form of gelu would be off by 8e-6.
 */
const FORWARD = 1e-6;
/** A gradient's sums cancel, so its error is counted against the largest entry of its tensor. */
const GRADIENT = 5e-6;
/**
 * Adam divides by the root of the second moment: an entry whose gradient is a hundredth of its
 * tensor's largest moves as far as any other and carries a hundred times the relative error. Ten
 * steps of 0.01 move a parameter by 0.1; an error of a ten-thousandth of that.
 */
const AFTER_TEN_STEPS = 1e-5;

/** Names and shapes of `parallelSide` for the reference's tree. */
function treeOf(from: ReferenceTree, backend: Backend): ParallelParams {
  const make = (values: Nested, shape?: number[]) => tensor(values, shape, { backend });
  return {
    alpha: make(from.alpha),
    down: from.down.map((matrix) => make(matrix)),
    up: from.up.map((matrix) => make(matrix)),
    beta: make(from.beta, [1]),
    head: { weight: make(from.headW), bias: make(from.headB) },
  };
}

function near(actual: number, expected: number, tolerance: number, what: string): void {
  const error = Math.abs(actual - expected);
  assert.ok(error <= tolerance, `${what}: ${actual}, reference ${expected}, off by ${error}`);
}

/** Every element within `tolerance` of the reference, in units of the largest of them or of 1. */
function treesNear(
  actual: ParallelParams,
  expected: ReferenceTree,
  tolerance: number,
  unit: 'largest' | 'one',
): void {
  scope(() => {
    const wanted = flatten(treeOf(expected, [...flatten(actual).values()][0].backend));
    for (const [path, got] of flatten(actual)) {
      const want = (wanted.get(path) as Tensor).toFloat32();
      const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const scale = unit === 'one' ? 1 : largest;
      got.toFloat32().forEach((value, i) => {
        near(value, want[i], tolerance * scale, `${path}[${i}]`);
      });
    }
    assert.equal(flatten(actual).size, wanted.size);
  });
}

const side = parallelSide(
  { layers: reference.L, width: reference.d, kinds: 1, classes: reference.C },
  { rank: reference.r },
);

const gpu = await gpuBackend({ mode: 'webasm' });
after(() => gpu.destroy());

for (const { name, backend } of [...backends(), { name: gpu.description, backend: gpu }]) {
  describe(`side network against PyTorch in float64, ${name}`, () => {
    const taps = reference.A.map((layer) =>
      rmsNorm(tensor(layer, undefined, { backend }), null, SIDE_RMS_EPS),
    );
    const targets = tensor(Int32Array.from(reference.y), undefined, { backend });
    const lossAndGrads = valueAndGrad((params: ParallelParams) =>
      crossEntropy(side.logits(params, taps), targets),
    );

    it('has the parameters the reference has', () => {
      scope(() => {
        const made = side.init({ normal: () => 0 } as never, backend);
        const wanted = treeOf(reference.params, backend);
        const shapes = (tree: ParallelParams) =>
          [...flatten(tree)].map(([path, leaf]) => `${path} [${leaf.shape}]`).sort();
        assert.deepEqual(shapes(made), shapes(wanted));
      });
    });

    it('logits and loss', () => {
      scope(() => {
        const logits = side.logits(treeOf(reference.params, backend), taps);
        assert.deepEqual(logits.shape, [reference.n, reference.C]);
        const want = reference.logits.flat();
        logits.toFloat32().forEach((value, i) => {
          near(value, want[i], FORWARD, `logits[${i}]`);
        });
        near(crossEntropy(logits, targets).item(), reference.loss, FORWARD, 'loss');
      });
    });

    it('every gradient', () => {
      scope(() => {
        const { value, grads } = lossAndGrads(treeOf(reference.params, backend));
        near(value.item(), reference.loss, FORWARD, 'loss');
        treesNear(grads, reference.grads, GRADIENT, 'largest');
      });
    });

    it('ten AdamW steps with clipping: losses, gradient norms, parameters', () => {
      const { lr, betas, eps, weight_decay, max_grad_norm } = reference.adamw;
      scope(() => {
        let params = treeOf(reference.params, backend);
        let state = adamwInit(params);
        reference.losses.forEach((expected, i) => {
          const { value, grads } = lossAndGrads(params);
          near(value.item(), expected, AFTER_TEN_STEPS, `loss of step ${i}`);
          const stepped = adamwStep(params, grads, state, {
            learningRate: lr,
            beta1: betas[0],
            beta2: betas[1],
            eps,
            weightDecay: weight_decay,
            maxGradNorm: max_grad_norm,
          });
          const norm = stepped.gradNorm.item();
          near(norm, reference.grad_norms[i], AFTER_TEN_STEPS, `gradient norm of step ${i}`);
          params = stepped.params;
          state = stepped.state;
        });
        assert.equal(state.step, reference.losses.length);
        treesNear(params, reference.after, AFTER_TEN_STEPS, 'one');
      });
    });
  });
}
