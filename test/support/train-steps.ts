// Not by model/'s and server/'s barrels, which a browser does not load without a bundler.
import { type AdamWState, adamwInit, warmupCosine } from '../../src/model/optim.ts';
import { type HeadKind, parallelSide } from '../../src/model/side/parallel.ts';
import { objectives } from '../../src/server/objective.ts';
import { type SideBatch, sideStep } from '../../src/server/side-step.ts';
import {
  type Backend,
  compile,
  disposeTree,
  keep,
  random,
  randomNormal,
  scope,
  type Tensor,
  type Tree,
} from '../../src/tensor/index.ts';

const SHAPE = { layers: 3, width: 24, kinds: 2, classes: 5 };

/** Steps of the side network's training in one call of the compiled function. */
const STEPS_A_CALL = 3;

/** How long and how the side network is trained. */
export interface TrainSettings {
  /** Three steps each. */
  readonly calls: number;
  /** Rows of each call's batches: 8 unless said otherwise. */
  readonly rows?: (call: number) => number;
  /** `gated` unless said otherwise. */
  readonly head?: HeadKind;
  /** `compiled`, several steps a call; or `stepwise`, every loss looked at, as a server trains. */
  readonly way?: 'compiled' | 'stepwise';
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

/** The same three batches for ever: taps that a training can learn by heart. */
function batchOf(rows: number, step: number, backend: Backend): SideBatch {
  const rng = random(100 + (step % STEPS_A_CALL));
  const labels = Array.from({ length: rows }, () => Math.floor(rng.uniform(0, SHAPE.classes)));
  return {
    taps: Array.from({ length: SHAPE.layers }, () =>
      randomNormal([rows * SHAPE.kinds, SHAPE.width], 1, rng, backend),
    ),
    targets: objectives.classification.targets(labels, backend),
  };
}

/**
 * Trains the side network on fixed taps by the server's own steps (forward with label smoothing,
 * backward, clipping, AdamW with decay), the learning rate another in every one.
 */
export async function trainSide(backend: Backend, settings: TrainSettings): Promise<Trained> {
  const { calls, rows = () => 8, head, way = 'compiled' } = settings;
  const side = parallelSide(SHAPE, { rank: 4, head, gateRate: 5 });
  // Rates that are equal in one call and not in another would take a plan more: no two of a call
  // are, those of the gates among them.
  const warmupSteps = STEPS_A_CALL;
  const rateAt = warmupCosine({ peak: 0.01, warmupSteps, totalSteps: STEPS_A_CALL * calls });
  const options = { labelSmoothing: 0.1, weightDecay: 0.1, maxGradNorm: 1 };
  type Params = ReturnType<typeof side.init>;
  const trainSteps = (params: Params, m: Params, v: Params, done: number, batches: SideBatch[]) => {
    let at: { params: Params; state: AdamWState<Params> } = { params, state: { step: done, m, v } };
    const shown: Tensor[] = [];
    for (const batch of batches) {
      const rates = { ...options, learningRate: rateAt(at.state.step) };
      const next = sideStep(side, objectives.classification, at, batch, rates);
      at = next;
      shown.push(next.loss, next.gradNorm);
    }
    return { params: at.params, m: at.state.m, v: at.state.v, shown };
  };
  const compiled = compile(trainSteps, backend);
  const stepped: typeof trainSteps = (...args) => keep(scope(() => trainSteps(...args)));
  let params = side.init(random(1), backend);
  let { m, v } = adamwInit(params);
  const shown: number[] = [];
  const bytes: number[] = [];
  const advance = async (done: number, batches: SideBatch[]) => {
    const run = way === 'compiled' ? compiled : stepped;
    const next = await run(params, m, v, done, batches);
    disposeTree([params, m, v, batches as unknown as Tree]);
    ({ params, m, v } = next);
    shown.push(...next.shown.map((one) => one.item()));
    disposeTree(next.shown);
  };
  for (let call = 0; call < calls; call++) {
    const done = call * STEPS_A_CALL;
    const batches = Array.from({ length: STEPS_A_CALL }, (_, i) =>
      batchOf(rows(call), done + i, backend),
    );
    if (way === 'compiled') await advance(done, batches);
    else for (const [i, batch] of batches.entries()) await advance(done + i, [batch]);
    bytes.push(backend.memory().bytes);
  }
  const flat = flatNumbers(params);
  disposeTree([params, m, v]);
  const { executor, fallbackReason, plans } = compiled;
  await compiled.destroy();
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
