import {
  type AdamWState,
  type ChannelAffine,
  decodeLmHead,
  type LmHead,
  partTokens,
  type SideModel,
  type TapDropout,
  tapTensors,
} from '../model/index.ts';
import {
  type Backend,
  disposeTree,
  FormatError,
  keep,
  scope,
  type Tensor,
  type Tree,
} from '../tensor/index.ts';
import { fitOfValues, valuesOfFit, valuesOfTree } from './fit-values.ts';
import { lmObjective, scoreLmEpoch } from './lm-objective.ts';
import {
  type EpochScore,
  type Objective,
  objectives,
  type RowScore,
  rowScores,
} from './objective.ts';
import type { ReceivedRows, Row, Unit } from './received-rows.ts';
import { addTrees, sideGradients, sideUpdate, stepDropout } from './side-step.ts';
import type { EnginePart, StepEngine } from './step-engine.ts';
import type { TrainerEvent, TrainingJob } from './training-job.ts';

/**
 * Steps of an engine's call at the most. Parameters and both moments cross once a call, so more save
 * little, and a plan takes the longer to compile the more there are.
 */
const STEPS_A_CALL = 8;

/** Where a training stands after a call, and what each of its steps said. */
export interface SteppedFit {
  readonly params: Tree;
  readonly state: AdamWState<Tree>;
  readonly losses: ArrayLike<number>;
  readonly gradNorms: ArrayLike<number>;
}

/** What a promise comes to; whoever drives the training waits for it. */
function* settled<T>(promise: Promise<T>): Generator<TrainerEvent, T> {
  let outcome: { readonly value: T } | { readonly error: unknown } | undefined;
  const until = promise.then(
    (value) => {
      outcome = { value };
    },
    (error: unknown) => {
      outcome = { error };
    },
  );
  while (!outcome) yield { kind: 'wait', until };
  if ('error' in outcome) throw outcome.error;
  return outcome.value;
}

/**
 * What a trainer has computed: steps and scores of a model on received rows, by a backend in this
 * thread or by an engine. It keeps nothing of a training between two calls.
 */
export class StepMaker {
  private readonly job: TrainingJob;
  private readonly rows: ReceivedRows;
  private readonly channels: () => ChannelAffine;
  private readonly backend: Backend;
  private readonly engine: StepEngine | undefined;
  private readonly begun: Promise<void> | undefined;
  /** Undefined as long as a language model's head has not come. */
  private aim: Objective | undefined;
  private head: LmHead | undefined;
  /** Whether it is still to come. */
  headDue: boolean;

  /** @param channels what standardises taps at the time */
  constructor(
    job: TrainingJob,
    rows: ReceivedRows,
    channels: () => ChannelAffine,
    backend: Backend,
    engine: StepEngine | undefined,
  ) {
    this.job = job;
    this.rows = rows;
    this.channels = channels;
    this.backend = backend;
    this.engine = engine;
    const { task = 'classification', shape, codec, vocab = 0, options } = job;
    this.begun = engine?.begin({ shape, codec, task, vocab, options });
    this.begun?.catch(() => {}); // `begin` tells of it
    if (task !== 'lm') this.aim = objectives[task];
    this.headDue = task === 'lm' && !job.labelsOnDevice;
  }

  /** Waits until the engine has taken the job. */
  *begin(): Generator<TrainerEvent, void> {
    if (this.begun) yield* settled(this.begun);
  }

  /** See `SideTrainer.useHead`. */
  useHead(bytes: Uint8Array): void | Promise<void> {
    const { shape, vocab = 0 } = this.job;
    if (this.engine) {
      return this.engine.useHead(bytes).then(() => {
        this.headDue = false;
      });
    }
    disposeTree(this.head);
    this.head = decodeLmHead(bytes, { vocab, width: shape.width }, this.backend);
    this.aim = lmObjective(this.head);
    this.headDue = false;
  }

  /** Gives the head back. */
  close(): void {
    disposeTree(this.head);
    this.head = undefined;
  }

  /** Steps of the next call, of so many that it may make. */
  stepsAtOnce(most: number): number {
    if (!this.engine) return 1;
    return Math.max(1, Math.min(most, this.engine.stepsACall ?? STEPS_A_CALL));
  }

  /** Makes a step on each batch, on the engine where there is one. */
  *steps(
    model: SideModel,
    { params, state }: Pick<SteppedFit, 'params' | 'state'>,
    batches: readonly (readonly Row[])[],
    rateAt: (step: number) => number,
  ): Generator<TrainerEvent, SteppedFit> {
    const { engine } = this;
    if (!engine) {
      const next = this.step(model, params, state, batches[0], rateAt(state.step));
      return { ...next, losses: [next.loss], gradNorms: [next.gradNorm] };
    }
    const { to, losses, gradNorms } = yield* settled(
      engine.steps({
        model: model.name,
        from: valuesOfFit({ params, ...state }),
        standardizer: this.channels(),
        batches: batches.map((batch) => this.parts(batch.flat()).map((part) => this.packed(part))),
        learningRates: batches.map((_, i) => rateAt(state.step + i)),
      }),
    );
    const { params: next, ...moments } = keep(fitOfValues(params, to, this.backend));
    return { params: next, state: moments, losses, gradNorms };
  }

  /** Units as an engine takes them. */
  private packed(units: readonly Unit[]): EnginePart {
    return { records: this.rows.records(units), labels: units.map(({ label }) => label) };
  }

  private step(
    model: SideModel,
    params: Tree,
    state: AdamWState<Tree>,
    batch: readonly Row[],
    learningRate: number,
  ) {
    const { labelSmoothing, weightDecay, maxGradNorm } = this.job.options;
    return scope(() => {
      const { value, grads } = this.gradients(model, params, state.step, batch, labelSmoothing);
      const rates = { weightDecay, maxGradNorm, learningRate };
      const next = sideUpdate(model, { params, state }, grads, rates);
      return {
        params: keep(next.params),
        state: keep(next.state),
        loss: value.item(),
        gradNorm: next.gradNorm.item(),
      };
    });
  }

  /** Mean loss of a batch and its gradients, a part of the batch at a time. */
  private gradients(
    model: SideModel,
    params: Tree,
    step: number,
    batch: readonly Row[],
    labelSmoothing: number,
  ): { value: Tensor; grads: Tree } {
    const units = batch.flat();
    const dropout = stepDropout(model, this.job.options.seed, step);
    let sum: { value: Tensor; grads: Tree } | undefined;
    for (const part of this.parts(units)) {
      const before = sum;
      sum = scope(() => {
        const inputs = { taps: this.taps(part, dropout), targets: this.targets(part) };
        const share = part.length / units.length;
        const next = sideGradients(model, this.objective, params, inputs, labelSmoothing, share);
        return before ? addTrees(before, next) : next;
      });
      disposeTree(before);
    }
    return sum as { value: Tensor; grads: Tree };
  }

  /** Units that are computed at once: all of them, or so many tokens. */
  private parts(units: readonly Unit[]): (readonly Unit[])[] {
    if (this.job.task !== 'lm') return [units];
    const parts: Unit[][] = [];
    const size = partTokens(this.job.shape.width);
    for (let start = 0; start < units.length; start += size) {
      parts.push(units.slice(start, start + size));
    }
    return parts;
  }

  /** What the validation rows say. */
  *evaluate(model: SideModel, params: Tree): Generator<TrainerEvent, EpochScore> {
    const { task, options } = this.job;
    const { batchSize } = options;
    const rows = this.rows.valid;
    const scores: RowScore[] = [];
    // One batch a call of its own: a plan holds what all of a call makes on the way.
    for (let start = 0; start < rows.length; start += batchSize) {
      const parts = this.parts(rows.slice(start, start + batchSize).flat());
      scores.push(...(yield* this.scores(model, params, parts)));
    }
    return task === 'lm' ? scoreLmEpoch(scores) : this.objective.scoreEpoch(scores);
  }

  /** Scores of the units of all parts, on the engine where there is one and it makes the steps. */
  private *scores(
    model: SideModel,
    params: Tree,
    parts: readonly (readonly Unit[])[],
  ): Generator<TrainerEvent, readonly RowScore[]> {
    const engine = model.solve ? undefined : this.engine;
    if (engine) {
      return yield* settled(
        engine.scores({
          model: model.name,
          params: valuesOfTree(params),
          standardizer: this.channels(),
          parts: parts.map((part) => this.packed(part)),
        }),
      );
    }
    return parts.flatMap((part) =>
      scope(() => {
        const outputs = model.logits(params, this.taps(part));
        const values = this.objective.rowValues(outputs, this.targets(part));
        return rowScores(
          values,
          part.map(({ label }) => label),
        );
      }),
    );
  }

  /** Taps of units on the backend, A_1..A_L. */
  taps(units: readonly Unit[], dropout?: TapDropout): Tensor[] {
    const samples = units.map((unit) => this.rows.sample(unit));
    return tapTensors(samples, this.job.shape, this.channels(), this.backend, dropout);
  }

  private targets(units: readonly Unit[]) {
    const labels = units.map(({ label }) => label);
    return this.objective.targets(labels, this.backend);
  }

  private get objective(): Objective {
    if (!this.aim) throw new FormatError('training: the output head has not come', 'E_LM_HEAD');
    return this.aim;
  }
}
