// Not by model/'s barrel, which a browser does not load without a bundler.
import { adamwInit, adamwStep } from '../../src/model/optim.ts';
import { parallelSide } from '../../src/model/side/parallel.ts';
import {
  type Backend,
  compile,
  crossEntropy,
  disposeTree,
  random,
  randomNormal,
  type Tensor,
  type Tree,
  tensor,
  valueAndGrad,
} from '../../src/tensor/index.ts';

const SHAPE = { layers: 3, width: 24, kinds: 2, classes: 5 };
const side = parallelSide(SHAPE, { rank: 4 });

/** Steps of the side network's training in one call of the compiled function. */
const STEPS_A_CALL = 3;

interface Batch {
  readonly taps: readonly Tensor[];
  readonly targets: Tensor;
}

function batchOf(rows: number, seed: number, backend: Backend): Batch {
  const rng = random(seed);
  const targets = Int32Array.from({ length: rows }, () => Math.floor(rng.uniform(0, 5)));
  return {
    taps: Array.from({ length: SHAPE.layers }, () =>
      randomNormal([rows * SHAPE.kinds, SHAPE.width], 1, rng, backend),
    ),
    targets: tensor(targets, undefined, { backend }),
  };
}

/** What came of a training, as numbers. */
export interface Trained {
  /** Losses and gradient norms, step by step. */
  readonly steps: readonly number[];
  /** All parameters, one behind the other. */
  readonly params: readonly number[];
  readonly executor: string | null;
  readonly fallbackReason: string | null;
  readonly plans: number;
  /** Bytes of tensors after each call. */
  readonly bytes: readonly number[];
}

/**
 * Trains the side network by a compiled function of several whole steps (forward, backward,
 * clipping, AdamW), the learning rate another in every one.
 * @param rows of each call's batches
 */
export async function trainCompiled(
  backend: Backend,
  calls: number,
  rows: (call: number) => number = () => 8,
): Promise<Trained> {
  const steps = compile((params: Tree, m: Tree, v: Tree, done: number, batches: Batch[]) => {
    let state = { step: done, m, v };
    let current = params;
    const shown: Tensor[] = [];
    for (const { taps, targets } of batches) {
      const { value, grads } = valueAndGrad((p: Tree) =>
        crossEntropy(side.logits(p, taps), targets),
      )(current);
      const next = adamwStep(current, grads, state, {
        learningRate: 0.02 / (state.step + 1),
        rate: side.rate,
        decays: side.decays,
      });
      ({ params: current, state } = next);
      shown.push(value, next.gradNorm);
    }
    return { params: current, m: state.m, v: state.v, shown };
  }, backend);
  let params: Tree = side.init(random(1), backend);
  let { m, v }: { m: Tree; v: Tree } = adamwInit(params);
  const shown: number[] = [];
  const bytes: number[] = [];
  for (let call = 0; call < calls; call++) {
    const done = call * STEPS_A_CALL;
    const batches = Array.from({ length: STEPS_A_CALL }, (_, i) =>
      batchOf(rows(call), 100 + done + i, backend),
    );
    const next = await steps(params, m, v, done, batches);
    disposeTree([params, m, v, batches]);
    ({ params, m, v } = next);
    shown.push(...next.shown.map((one) => one.item()));
    disposeTree(next.shown);
    bytes.push(backend.memory().bytes);
  }
  const flat = flatNumbers(params);
  disposeTree([params, m, v]);
  const { executor, fallbackReason, plans } = steps;
  await steps.destroy();
  return { steps: shown, params: flat, executor, fallbackReason, plans, bytes };
}

function flatNumbers(tree: Tree): number[] {
  return Object.values(tree as Record<string, Tree>).flatMap((branch) =>
    'toFloat32' in branch ? [...(branch as Tensor).toFloat32()] : flatNumbers(branch),
  );
}

/** The largest difference of two lists. */
export function furthest(a: readonly number[], b: readonly number[]): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}
