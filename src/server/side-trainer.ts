import { epochBatches } from '../data/index.ts';
import {
  type AdamWState,
  adamwInit,
  type ChannelAffine,
  createSideModel,
  encodeAdapterWeights,
  exportParams,
  type SideModel,
  type Solved,
  TapStatistics,
  warmupCosine,
} from '../model/index.ts';
import {
  type Backend,
  disposeTree,
  FormatError,
  keep,
  leaves,
  random,
  scope,
  type Tree,
} from '../tensor/index.ts';
import { asGoodAsBest } from './choose-epoch.ts';
import { ReceivedRows, type Row, type Unit } from './received-rows.ts';
import type { StepEngine } from './step-engine.ts';
import { StepMaker } from './step-maker.ts';
import {
  exportFit,
  type FitCursor,
  type FitSnapshot,
  importFit,
  type TrainerSnapshot,
} from './trainer-snapshot.ts';
import type { ReceivedBatch, TrainedModel, TrainerEvent, TrainingJob } from './training-job.ts';

/** Batch b of an epoch (from 1); may have to wait for rows. */
type BatchSource = (epoch: number, b: number) => Generator<TrainerEvent, readonly Row[]>;

/** An epoch's end inside the trainer. */
interface FittedEpoch {
  readonly kind: 'fitted';
  readonly epoch: number;
  readonly trainLoss: number;
  readonly params: Tree;
}

/**
 * The server's training, as a pure function of the rows and their order: the sequence of steps
 * depends on the seed alone, never on when rows arrive, so any split over processes gives the same
 * adapter. Epoch 1 steps on each batch as it comes, standardised with the statistics so far; then
 * the statistics are frozen and all later epochs run from the cache.
 */
export class SideTrainer {
  readonly job: TrainingJob;
  private readonly backend: Backend;
  /** Steps that a call may make, for who wants to save between them; asked before each. */
  mostSteps: () => number = () => Number.POSITIVE_INFINITY;
  private readonly maker: StepMaker;
  private readonly statistics: TapStatistics;
  private readonly rows: ReceivedRows;
  private standardizer: ChannelAffine | undefined;
  /** Models whose training is over. */
  private readonly trained: TrainedModel[] = [];
  /** Epochs that may be chosen, of the model under way. */
  private candidates: TrainedModel[] = [];
  /** Where its training stands, while it runs; what it begins from, before. */
  private cursor: FitCursor | undefined;
  private resumed: FitSnapshot | undefined;

  /**
   * @param backend computes, or with an engine holds what is trained
   * @param engine makes the steps, if not the backend; waited for by `wait` events
   */
  constructor(job: TrainingJob, backend: Backend, engine?: StepEngine) {
    this.job = job;
    this.backend = backend;
    this.statistics = new TapStatistics(job.shape);
    this.rows = new ReceivedRows(job);
    const channels = () => this.standardizer ?? this.statistics.standardizer();
    this.maker = new StepMaker(job, this.rows, channels, backend, engine);
  }

  /** Bytes of cached activations, in memory and in spill files. */
  get cacheBytes(): { memory: number; spilled: number } {
    return this.rows.cacheBytes;
  }

  /**
   * The frozen head of a language model, without which its training waits.
   * @throws FormatError (E_LM_HEAD) for one of another model
   */
  useHead(bytes: Uint8Array): void | Promise<void> {
    return this.maker.useHead(bytes);
  }

  /** Stores a batch. @throws FormatError when its size is not what the job said */
  receive(batch: ReceivedBatch): void {
    this.rows.receive(batch);
  }

  /** The whole training: the side network, then the baselines on the same rows. */
  *run(): Generator<TrainerEvent, void> {
    const { options, shape } = this.job;
    yield* this.maker.begin();
    for (const trained of this.trained) yield { kind: 'trained', trained };
    while (this.maker.headDue) yield { kind: 'wait' };
    const names = [options.side, ...options.baselines].slice(this.trained.length);
    for (const name of names) {
      const model = createSideModel(name, shape, options);
      yield* model.solve ? this.solve(model, model.solve) : this.train(model);
    }
  }

  /** How far the training is; taken between two events, it is where `restore` goes on. */
  snapshot(): TrainerSnapshot {
    const { trained, candidates, cursor } = this;
    return { trained, candidates, fit: cursor ? exportFit(cursor) : this.resumed };
  }

  /**
   * Goes on from a snapshot, with all rows of then received again, in the order of then: events and
   * adapter are those that would have come.
   * @throws FormatError (E_STATE) where rows are missing
   */
  restore({ trained, candidates, fit }: TrainerSnapshot): void {
    const { rows, options } = this.job;
    const first = trained.length === 0 && !fit?.again && (fit?.epoch ?? 1) === 1;
    const stepped = first ? (fit?.batch ?? 0) : Math.ceil(rows.train / options.batchSize);
    if (this.rows.batches.length < stepped) {
      throw new FormatError(
        `read job: ${this.rows.batches.length} batches are there, steps were made on ${stepped}`,
        'E_STATE',
      );
    }
    for (const unit of this.rows.batches.slice(0, stepped).flat(2)) {
      this.statistics.add(this.rows.sample(unit));
    }
    if (!first) this.standardizer = this.statistics.standardizer();
    this.trained.push(...trained);
    this.candidates = [...candidates];
    this.resumed = fit;
  }

  /** Removes cached activations. */
  close(): void {
    this.rows.close();
    this.maker.close();
  }

  /**
   * Once all rows are there, solves what has a closed form on the training rows, scores it and, with
   * `refit`, solves it on all.
   */
  private *solve(
    model: SideModel,
    solution: NonNullable<SideModel['solve']>,
  ): Generator<TrainerEvent, void> {
    const { options, rows } = this.job;
    const batches = this.standardizer ? 0 : Math.ceil(rows.train / options.batchSize);
    for (let b = 0; b < batches; b++) {
      yield* this.nextBatch(1, b, this.shuffled(this.rows.train));
    }
    while (this.rows.valid.length < rows.valid) yield { kind: 'wait' };
    this.standardizer ??= this.statistics.standardizer();
    const solved = (units: readonly Unit[], before?: Solved['chosen']) =>
      scope(() => {
        const labels = units.map(({ label }) => label);
        const result = solution(this.maker.taps(units), labels, before);
        return { ...result, params: keep(result.params) };
      });
    const { params, loss, chosen } = solved(this.rows.train.flat());
    const { validLoss, validAccuracy, validError } = yield* this.maker.evaluate(model, params);
    yield {
      ...{ kind: 'epoch', model: model.name, epoch: 1, trainLoss: loss },
      ...{ validLoss, validAccuracy },
    };
    const trained = {
      ...{ name: model.name, bestEpoch: 1, epochs: 1, validAccuracy, validLoss, validError },
      parameters: leaves(params).reduce((n, leaf) => n + leaf.numel, 0),
      weights: this.save(model, params),
    };
    disposeTree(params);
    if (options.refit) {
      const again = solved([...this.rows.train, ...this.rows.valid].flat(), chosen).params;
      trained.weights = this.save(model, again);
      disposeTree(again);
    }
    this.trained.push(trained);
    yield { kind: 'trained', trained };
  }

  /** Chooses an epoch by the validation rows and, with `refit`, trains that long on all rows. */
  private *train(model: SideModel): Generator<TrainerEvent, void> {
    const { options, rows } = this.job;
    const first = {
      ...{ again: false, rows: rows.train, epochs: options.epochs },
      ...{ epochsBefore: 0, stepsBefore: 0 },
    };
    const reshuffled = this.shuffled(this.rows.train);
    const source: BatchSource = (epoch, b) => this.nextBatch(epoch, b, reshuffled);
    for (const event of this.resumed?.again ? [] : this.fit(model, first, source)) {
      if (event.kind !== 'fitted') {
        yield event;
        continue;
      }
      while (this.rows.valid.length < rows.valid) yield { kind: 'wait' };
      this.standardizer ??= this.statistics.standardizer();
      const { epoch, trainLoss, params } = event;
      const { validLoss, validAccuracy, validError } = yield* this.maker.evaluate(model, params);
      yield { kind: 'epoch', model: model.name, epoch, trainLoss, validLoss, validAccuracy };
      const [before] = this.candidates;
      this.candidates.push({
        name: model.name,
        bestEpoch: epoch,
        epochs: options.epochs,
        validAccuracy,
        validLoss,
        ...(yield* this.startLoss(model, before)),
        validError,
        parameters: leaves(params).reduce((n, leaf) => n + leaf.numel, 0),
        weights: this.save(model, params),
      });
      this.candidates = asGoodAsBest(this.candidates);
    }
    let best = this.candidates.at(-1);
    if (best && options.refit) {
      const all = [...this.rows.train, ...this.rows.valid];
      const again = {
        again: true,
        rows: all.length,
        epochs: best.bestEpoch,
        epochsBefore: options.epochs,
        stepsBefore: Math.ceil(rows.train / options.batchSize) * options.epochs,
      };
      for (const event of this.fit(model, again, this.shuffled(all))) {
        if (event.kind !== 'fitted') yield event;
        else best = { ...best, weights: this.save(model, event.params) };
      }
    }
    this.candidates = [];
    if (!best) return;
    this.trained.push(best);
    yield { kind: 'trained', trained: best };
  }

  /** Trains from a fresh start; `fitted` ends every epoch, its parameters live until the next event. */
  private *fit(
    model: SideModel,
    plan: {
      again: boolean;
      rows: number;
      epochs: number;
      epochsBefore: number;
      stepsBefore: number;
    },
    batchOf: BatchSource,
  ): Generator<TrainerEvent | FittedEpoch, void> {
    const received = this.rows;
    const { options } = this.job;
    const perEpoch = Math.ceil(plan.rows / options.batchSize);
    const totalSteps = perEpoch * plan.epochs;
    const rateAt = warmupCosine({
      peak: options.learningRate,
      warmupSteps: Math.round(totalSteps * options.warmupRatio),
      totalSteps,
    });
    const rng = random(options.seed).fork(model.name).fork('init');
    const { again } = plan;
    const from = this.resumed;
    this.resumed = undefined;
    let params = keep(model.init(rng, this.backend));
    let state: AdamWState<Tree>;
    if (from) ({ params, state } = importFit(from, params, this.backend));
    else state = keep(adamwInit(params));
    let lossSum = from?.lossSum ?? 0;
    try {
      for (let epoch = from?.epoch ?? 1; epoch <= plan.epochs; epoch++) {
        const begin = epoch === from?.epoch ? from.batch : 0;
        if (begin === 0) lossSum = 0;
        this.cursor = { again, epoch, batch: begin, lossSum, params, state };
        for (let b = begin; b < perEpoch; ) {
          const batches = [yield* batchOf(epoch, b)];
          // While rows come in, each batch is standardised otherwise.
          const most = this.standardizer ? Math.min(perEpoch - b, this.mostSteps()) : 1;
          const count = this.maker.stepsAtOnce(most);
          while (batches.length < count) batches.push(yield* batchOf(epoch, b + batches.length));
          const next = yield* this.maker.steps(model, { params, state }, batches, rateAt);
          disposeTree([params, state.m, state.v]);
          ({ params, state } = next);
          b += batches.length;
          batches.forEach((batch, i) => {
            lossSum += next.losses[i] * batch.flat().length;
          });
          this.cursor = { again, epoch, batch: b, lossSum, params, state };
          for (let i = 0, rest = batches.length - 1; rest >= 0; i++, rest--) {
            yield {
              kind: 'step',
              model: model.name,
              step: plan.stepsBefore + state.step - rest,
              totalSteps: plan.stepsBefore + totalSteps,
              epoch: plan.epochsBefore + epoch,
              loss: next.losses[i],
              gradNorm: next.gradNorms[i],
              ...(rest > 0 && { rest }),
            };
          }
        }
        const units = again ? [...received.train, ...received.valid].flat() : received.train.flat();
        yield { kind: 'fitted', epoch, trainLoss: lossSum / units.length, params };
      }
    } finally {
      this.cursor = undefined;
      disposeTree([params, state.m, state.v]);
    }
  }

  /** Batch b of an epoch; in the first epoch of the first model, as soon as it is there. */
  private *nextBatch(
    epoch: number,
    b: number,
    reshuffled: BatchSource,
  ): Generator<TrainerEvent, readonly Row[]> {
    if (this.standardizer === undefined && epoch === 1) {
      while (this.rows.batches.length <= b) yield { kind: 'wait' };
      for (const unit of this.rows.batches[b].flat()) this.statistics.add(this.rows.sample(unit));
      return this.rows.batches[b];
    }
    return yield* reshuffled(epoch, b);
  }

  /** Batches of `rows` in an order of its own every epoch. */
  private shuffled(rows: readonly Row[]): BatchSource {
    const { batchSize, seed } = this.job.options;
    let current = 0;
    let order: number[][] = [];
    return function* (epoch, b) {
      if (epoch !== current) {
        order = epochBatches({ count: rows.length, batchSize, seed, epoch: epoch - 1 });
        current = epoch;
      }
      return order[b].map((i) => rows[i]);
    };
  }

  /** The bytes of an adapter with these parameters. */
  private save(model: SideModel, params: Tree): Uint8Array {
    const standardizer = this.standardizer as ChannelAffine;
    const { calibration } = this.job.codec;
    return encodeAdapterWeights({ params: exportParams(params), standardizer, calibration }, model);
  }

  /** What the validation rows say before any step; of a language model alone. */
  private *startLoss(
    model: SideModel,
    before: TrainedModel | undefined,
  ): Generator<TrainerEvent, Pick<TrainedModel, 'startLoss'>> {
    if (this.job.task !== 'lm') return {};
    if (before) return { startLoss: before.startLoss };
    const params = keep(model.init(random(this.job.options.seed), this.backend));
    try {
      return { startLoss: (yield* this.maker.evaluate(model, params)).validLoss };
    } finally {
      disposeTree(params);
    }
  }
}
