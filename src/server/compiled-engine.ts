// Not by barrels: a browser loads this file without a bundler.

import type { AdamWState } from '../model/optim.ts';
import { decodeLmHead, type LmHead } from '../model/side/lm-head.ts';
import { createSideModel } from '../model/side/registry.ts';
import type { SideModel } from '../model/side/side-model.ts';
import type { ChannelAffine } from '../model/side/tap-statistics.ts';
import type { TapDropout } from '../model/side/taps.ts';
import {
  type Backend,
  BackendError,
  type CompiledStep,
  compile,
  disposeTree,
  random,
  scope,
  type Tensor,
  type Tree,
} from '../tensor/index.ts';
import { fitOfValues, treeOfValues, valuesOfFit } from './fit-values.ts';
import { lmObjective } from './lm-objective.ts';
import {
  type Objective,
  objectives,
  type RowScore,
  type RowValues,
  rowScores,
} from './objective.ts';
import {
  type PackedTaps,
  packTaps,
  type TapChannels,
  tapChannels,
  unpackTaps,
} from './packed-taps.ts';
import { sideStep, stepDropout } from './side-step.ts';
import type {
  EngineJob,
  EnginePart,
  ScoresCall,
  StepEngine,
  StepsCall,
  StepsResult,
} from './step-engine.ts';

/** A part of a batch on the backend, as it was received. */
interface PackedPart {
  readonly taps: PackedTaps;
  readonly targets: Tensor;
}

/** What a compiled call of several steps gives. */
interface Stepped extends Record<string, Tree> {
  readonly params: Tree;
  readonly m: Tree;
  readonly v: Tree;
  readonly losses: Tensor[];
  readonly gradNorms: Tensor[];
}

/** A side model with its compiled functions. */
interface Compiled {
  readonly model: SideModel;
  /** Parameters of the form of the model's, whose numbers nobody reads. */
  readonly form: Tree;
  readonly steps: CompiledStep<
    [Tree, AdamWState<Tree>, TapChannels, PackedPart[][], readonly number[]],
    Stepped
  >;
  readonly rows: CompiledStep<[Tree, TapChannels, PackedPart[]], RowValues[]>;
}

/** An engine on a backend that compiles steps: gpu.js, in this thread or in a page. */
export class CompiledEngine implements StepEngine {
  private readonly backend: Backend;
  private readonly models = new Map<string, Compiled>();
  private job: EngineJob | undefined;
  private head: LmHead | undefined;
  private objective: Objective | undefined;
  private last: Promise<unknown> = Promise.resolve();

  constructor(backend: Backend) {
    this.backend = backend;
  }

  get description(): string {
    return this.backend.description;
  }

  begin(job: EngineJob): Promise<void> {
    return this.alone(async () => {
      await this.end();
      this.job = job;
      this.objective = job.task === 'lm' ? undefined : objectives[job.task];
    });
  }

  useHead(bytes: Uint8Array): Promise<void> {
    return this.alone(async () => {
      const { vocab, shape } = this.running;
      disposeTree(this.head);
      this.head = decodeLmHead(bytes, { vocab, width: shape.width }, this.backend);
      this.objective = lmObjective(this.head);
    });
  }

  steps(call: StepsCall): Promise<StepsResult> {
    return this.alone(() => this.makeSteps(call));
  }

  scores(call: ScoresCall): Promise<readonly RowScore[]> {
    return this.alone(() => this.scoreRows(call));
  }

  async peakBytes(): Promise<number> {
    return this.backend.memory().peakBytes;
  }

  close(): Promise<void> {
    return this.alone(async () => {
      await this.end();
      const { backend } = this;
      if ('destroy' in backend) await (backend as { destroy(): Promise<void> }).destroy();
    });
  }

  /** One call after the other: a job that was broken off may still be in one when the next begins. */
  private alone<T>(body: () => Promise<T>): Promise<T> {
    const run = this.last.then(body);
    this.last = run.catch(() => {});
    return run;
  }

  private async makeSteps(call: StepsCall): Promise<StepsResult> {
    const { model, form, steps } = this.compiled(call.model);
    const { from, standardizer } = call;
    const { params, ...state } = fitOfValues(form, from, this.backend);
    const { seed } = this.running.options;
    const batches = call.batches.map((parts, i) => {
      const dropout = stepDropout(model, seed, from.step + i);
      return parts.map((part) => this.packed(part, dropout));
    });
    const channels = this.channels(standardizer, model.tapDropout);
    let next: Stepped | undefined;
    try {
      next = await steps(params, state, channels, batches, call.learningRates);
      const shown = (list: readonly Tensor[]) => Float32Array.from(list, (one) => one.item());
      return {
        to: valuesOfFit({ ...next, step: from.step + batches.length }),
        losses: shown(next.losses),
        gradNorms: shown(next.gradNorms),
      };
    } finally {
      disposeTree([params, state, channels, batches, next] as Tree);
    }
  }

  private async scoreRows(call: ScoresCall): Promise<readonly RowScore[]> {
    const { form, rows } = this.compiled(call.model);
    const params = treeOfValues(form, call.params, this.backend);
    const parts = call.parts.map((part) => this.packed(part));
    const channels = this.channels(call.standardizer);
    let values: RowValues[] | undefined;
    try {
      values = await rows(params, channels, parts);
      return values.flatMap((part, i) => rowScores(part, call.parts[i].labels));
    } finally {
      disposeTree([params, channels, parts, values] as Tree);
    }
  }

  /** Gives back what the job holds. */
  private async end(): Promise<void> {
    for (const { form, steps, rows } of this.models.values()) {
      disposeTree(form);
      await steps.destroy();
      await rows.destroy();
    }
    this.models.clear();
    disposeTree(this.head);
    this.head = undefined;
  }

  private get running(): EngineJob {
    if (!this.job) throw new BackendError('engine: begin comes first');
    return this.job;
  }

  private get aim(): Objective {
    if (!this.objective) throw new BackendError('engine: the output head has not come');
    return this.objective;
  }

  private compiled(name: string): Compiled {
    let found = this.models.get(name);
    if (!found) {
      const { shape, options } = this.running;
      const { labelSmoothing, weightDecay, maxGradNorm } = options;
      const model = createSideModel(name, shape, options);
      const rates = { labelSmoothing, weightDecay, maxGradNorm };
      const steps = (
        params: Tree,
        state: AdamWState<Tree>,
        channels: TapChannels,
        batches: PackedPart[][],
        learningRates: readonly number[],
      ): Stepped => {
        let at = { params, state };
        const losses: Tensor[] = [];
        const gradNorms: Tensor[] = [];
        batches.forEach((parts, i) => {
          const batch = parts.map(({ taps, targets }) => ({
            taps: unpackTaps(taps, channels, shape),
            targets,
          }));
          const next = sideStep(model, this.aim, at, batch, {
            ...rates,
            learningRate: learningRates[i],
          });
          at = next;
          losses.push(next.loss);
          gradNorms.push(next.gradNorm);
        });
        return { params: at.params, m: at.state.m, v: at.state.v, losses, gradNorms };
      };
      const rows = (params: Tree, channels: TapChannels, parts: PackedPart[]) =>
        parts.map(({ taps, targets }) => {
          const outputs = model.logits(params, unpackTaps(taps, channels, shape));
          return this.aim.rowValues(outputs, targets);
        });
      found = {
        model,
        form: scope(() => model.init(random(0), this.backend)),
        steps: compile(steps, this.backend),
        rows: compile(rows, this.backend),
      };
      this.models.set(name, found);
    }
    return found;
  }

  private channels(standardizer: ChannelAffine, rate = 0): TapChannels {
    const { shape, codec } = this.running;
    return tapChannels(shape, codec, standardizer, rate, this.backend);
  }

  private packed({ records, labels }: EnginePart, dropout?: TapDropout): PackedPart {
    const { shape, codec } = this.running;
    return {
      taps: packTaps(records, labels.length, shape, codec, this.backend, dropout),
      targets: this.aim.targets(labels, this.backend),
    };
  }
}
