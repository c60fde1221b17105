// A side network in training on fixed numbers: the server's own step on any backend, as it stands or
// several compiled into one call, held against the reference.
import { createSideModel } from '../src/model/index.ts';
import { type AdamWState, adamwInit } from '../src/model/optim.ts';
import { objectives } from '../src/server/objective.ts';
import { type SideBatch, sideStep } from '../src/server/side-step.ts';
import {
  type Backend,
  type CompiledStep,
  compile,
  cpuBackend,
  disposeTree,
  flatten,
  keep,
  mapTree,
  random,
  scope,
  type Tensor,
  type Tree,
  tensor,
} from '../src/tensor/index.ts';
import { nameOfShape, type StepShape } from './server-shapes.ts';
import { valuesOf } from './values.ts';

/** As a job trains by default. */
export const STEP_OPTIONS = { labelSmoothing: 0.1, weightDecay: 0.1, maxGradNorm: 1 } as const;

/** Learning rate of the step after `done` others: another in every one, as in a warm-up. */
export const rateAt = (done: number): number => 1e-3 * (1 + done / 1000);

/** Values of matrices that would begin at 0, where half of all gradients are 0. */
const SPREAD = 0.02;

/** Numbers of a training before its first step. */
export interface StepData {
  /** Parameters by path. */
  readonly params: ReadonlyMap<string, Float32Array>;
  /** A_1..A_L `[rows, width]`. */
  readonly taps: readonly Float32Array[];
  readonly labels: readonly number[];
}

function modelOf({ layers, width, classes, rank, head }: StepShape) {
  const rest = { alphaStart: 0, gateRate: 1, tapDropout: 0 };
  const shape = { layers, width, classes, kinds: 1 };
  return createSideModel('parallel', shape, { rank, head, ...rest });
}

/** Fixed by the shape alone. */
export function stepData(shape: StepShape): StepData {
  const { layers, width, rows, classes } = shape;
  const params = new Map<string, Float32Array>();
  scope(() => {
    let seed = 1;
    for (const [path, leaf] of flatten(modelOf(shape).init(random(1), cpuBackend()))) {
      const blank = path.startsWith('up') || path.startsWith('head');
      const spread = () => valuesOf(leaf.numel, ++seed).map((x) => SPREAD * x);
      params.set(path, blank ? spread() : leaf.toFloat32());
    }
  });
  return {
    params,
    taps: Array.from({ length: layers }, (_, i) => valuesOf(rows * width, 100 + i)),
    labels: Array.from({ length: rows }, (_, i) => (7 * i) % classes),
  };
}

/** What several steps give. */
interface Stepped extends Record<string, Tree> {
  readonly params: Tree;
  readonly m: Tree;
  readonly v: Tree;
  /** Of the last step, as the two numbers that the trainer reads after each. */
  readonly shown: Tensor[];
}

/** A training under way on a backend. */
export class SideTraining {
  /** Mean loss and norm of the gradient of the last step. */
  loss = Number.NaN;
  gradNorm = Number.NaN;
  private done = 0;
  private readonly shape: StepShape;
  private readonly backend: Backend;
  private readonly data: StepData;
  private readonly steps: (
    m: Tree,
    v: Tree,
    params: Tree,
    done: number,
    batches: SideBatch[],
  ) => Stepped;
  private readonly compiled: CompiledStep<[Tree, Tree, Tree, number, SideBatch[]], Stepped>;
  private params: Tree;
  private m: Tree;
  private v: Tree;

  constructor(shape: StepShape, backend: Backend, data = stepData(shape)) {
    this.shape = shape;
    this.backend = backend;
    this.data = data;
    const model = modelOf(shape);
    this.steps = (m, v, params, done, batches) => {
      let at: { params: Tree; state: AdamWState<Tree> } = { params, state: { step: done, m, v } };
      let shown: Tensor[] = [];
      for (const batch of batches) {
        const options = { ...STEP_OPTIONS, learningRate: rateAt(at.state.step) };
        const next = sideStep(model, objectives.classification, at, [batch], options);
        at = next;
        shown = [next.loss, next.gradNorm];
      }
      return { params: at.params, m: at.state.m, v: at.state.v, shown };
    };
    this.compiled = compile(this.steps, backend);
    const blank = scope(() => keep(model.init(random(1), backend)));
    this.params = mapTree(blank, (leaf, path) =>
      tensor(data.params.get(path) as Float32Array, leaf.shape, { backend }),
    );
    disposeTree(blank);
    ({ m: this.m, v: this.v } = adamwInit(this.params));
  }

  /** What ran the last compiled call, as the backend says it. */
  get executor(): string | null {
    return this.compiled.executor;
  }

  /** Makes a step, its batch copied to the backend and both numbers read, as the trainer does. */
  step(): number {
    return this.take(
      1,
      scope(() => {
        return keep(this.steps(this.m, this.v, this.params, this.done, [this.batch()]));
      }),
    );
  }

  /** Makes `count` steps in one compiled call. */
  async call(count: number): Promise<number> {
    const batches = Array.from({ length: count }, () => this.batch());
    const next = await this.compiled(this.m, this.v, this.params, this.done, batches);
    disposeTree(batches as unknown as Tree);
    return this.take(count, next);
  }

  /** AdamW's first moments by path: after one step a tenth of the clipped gradients. */
  moments(): Map<string, Float32Array> {
    return new Map([...flatten(this.m)].map(([path, leaf]) => [path, leaf.toFloat32()]));
  }

  async dispose(): Promise<void> {
    disposeTree([this.params, this.m, this.v]);
    await this.compiled.destroy();
  }

  private take(count: number, { params, m, v, shown }: Stepped): number {
    disposeTree([this.params, this.m, this.v]);
    Object.assign(this, { params, m, v });
    this.done += count;
    [this.loss, this.gradNorm] = shown.map((one) => one.item());
    disposeTree(shown);
    return this.loss;
  }

  private batch(): SideBatch {
    const { backend, data } = this;
    const { rows, width } = this.shape;
    return {
      taps: data.taps.map((values) => tensor(values, [rows, width], { backend })),
      targets: objectives.classification.targets(data.labels, backend),
    };
  }
}

/** What a training is held against: loss, norm and moments after so many steps. */
export interface Reference {
  readonly loss: number;
  readonly gradNorm: number;
  readonly moments: ReadonlyMap<string, Float32Array>;
}

const references = new Map<string, Reference>();

/** What the reference backend makes of a shape's first step; computed once. */
export async function referenceOf(shape: StepShape): Promise<Reference> {
  const name = nameOfShape(shape);
  const known = references.get(name);
  if (known) return known;
  const training = new SideTraining(shape, cpuBackend());
  training.step();
  const { loss, gradNorm } = training;
  const reference = { loss, gradNorm, moments: training.moments() };
  await training.dispose();
  references.set(name, reference);
  return reference;
}

/**
 * Largest allowed error: of the loss beside itself, of moments by norm of the error over the norm of
 * the reference. Sums of 17,000 f32 products through 30 layers come within 1e-5; a wrong row, sign or
 * factor is off by 1e-2 and more.
 */
export const STEP_TOLERANCE = 1e-4;

/** @throws Error naming what differs */
export function checkStep(who: string, got: Reference, expected: Reference): void {
  const near = (what: string, a: number, b: number) => {
    if (!(Math.abs(a - b) <= STEP_TOLERANCE * Math.abs(b))) {
      throw new Error(`${who}: ${what} is ${a}, the reference gives ${b}`);
    }
  };
  near('the loss', got.loss, expected.loss);
  near("the gradient's norm", got.gradNorm, expected.gradNorm);
  for (const [path, reference] of expected.moments) {
    const moment = got.moments.get(path);
    let [error, norm] = [0, 0];
    reference.forEach((value, i) => {
      error += ((moment?.[i] ?? Number.NaN) - value) ** 2;
      norm += value ** 2;
    });
    if (!(Math.sqrt(error) <= STEP_TOLERANCE * Math.sqrt(norm))) {
      throw new Error(`${who}: the moment of ${path} is off by ${Math.sqrt(error / norm)}`);
    }
  }
}
