// Not by model/'s and server/'s barrels, which a browser does not load without a bundler.
import { type AdamWState, adamwInit, warmupCosine } from '../../src/model/optim.ts';
import {
  type HeadKind,
  type ParallelOptions,
  parallelSide,
} from '../../src/model/side/parallel.ts';
import type { SideModel, SideShape } from '../../src/model/side/side-model.ts';
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

const SHAPE = { width: 24, kinds: 2, classes: 5 };

/** Batches that come again and again, so that a training can learn them by heart. */
const BATCHES = 3;

/** How long and how the side network is trained. */
export interface TrainSettings {
  /** Calls of the compiled function. */
  readonly calls: number;
  /** Steps of the training in each: 3 unless said otherwise. */
  readonly stepsACall?: number;
  /** Tapped layers: 3 unless said otherwise. */
  readonly layers?: number;
  /** Rows of each call's batches: 8 unless said otherwise. */
  readonly rows?: (call: number) => number;
  /** The side network: the parallel adapters unless said otherwise. */
  readonly make?: (shape: SideShape, options: ParallelOptions) => SideModel;
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

/** Of a step: random taps, and random labels. */
function batchOf(layers: number, rows: number, step: number, backend: Backend): SideBatch {
  const rng = random(100 + (step % BATCHES));
  const labels = Array.from({ length: rows }, () => Math.floor(rng.uniform(0, SHAPE.classes)));
  return {
    taps: Array.from({ length: layers }, () =>
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
  const { calls, stepsACall = 3, layers = 3, rows = () => 8, head, way = 'compiled' } = settings;
  const { make = parallelSide } = settings;
  const side: SideModel = make({ ...SHAPE, layers }, { rank: 4, head, gateRate: 5 });
  // Rates that are equal in one call and not in another would take a plan more: no two of a call
  // are, those of the gates among them.
  const warmupSteps = stepsACall;
  const rateAt = warmupCosine({ peak: 0.01, warmupSteps, totalSteps: stepsACall * calls });
  const options = { labelSmoothing: 0.1, weightDecay: 0.1, maxGradNorm: 1 };
  type Params = ReturnType<typeof side.init>;
  const trainSteps = (params: Params, m: Params, v: Params, done: number, batches: SideBatch[]) => {
    let at: { params: Params; state: AdamWState<Params> } = { params, state: { step: done, m, v } };
    const shown: Tensor[] = [];
    for (const batch of batches) {
      const rates = { ...options, learningRate: rateAt(at.state.step) };
      const next = sideStep(side, objectives.classification, at, [batch], rates);
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
    const done = call * stepsACall;
    const batches = Array.from({ length: stepsACall }, (_, i) =>
      batchOf(layers, rows(call), done + i, backend),
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
