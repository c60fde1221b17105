import { epochBatches } from '../data/index.ts';
import {
  type AdamWState,
  adamwInit,
  type ChannelAffine,
  createSideModel,
  decodeSample,
  encodeAdapterWeights,
  exportParams,
  layersToSamples,
  type SideModel,
  sampleBytes,
  type TapDropout,
  TapStatistics,
  tapTensors,
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
import { ActivationCache } from './activation-cache.ts';
import { type EpochScore, type Objective, objectives, type RowScore } from './objective.ts';
import { sideStep } from './side-step.ts';
import {
  exportFit,
  type FitCursor,
  type FitSnapshot,
  importFit,
  type TrainerSnapshot,
} from './trainer-snapshot.ts';
import type {
  ReceivedBatch,
  Split,
  TrainedModel,
  TrainerEvent,
  TrainingJob,
} from './training-job.ts';

interface Row {
  readonly split: Split;
  readonly id: number;
  readonly label: number;
}

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
  private readonly objective: Objective;
  private readonly statistics: TapStatistics;
  private readonly caches: Record<Split, ActivationCache>;
  private readonly received: Record<Split, Row[]> = { train: [], valid: [] };
  private readonly batches: Row[][] = [];
  private standardizer: ChannelAffine | undefined;
  /** Models whose training is over. */
  private readonly trained: TrainedModel[] = [];
  /** Epochs that may be chosen, of the model under way. */
  private candidates: TrainedModel[] = [];
  /** Where its training stands, while it runs; what it begins from, before. */
  private cursor: FitCursor | undefined;
  private resumed: FitSnapshot | undefined;

  constructor(job: TrainingJob, backend: Backend) {
    this.job = job;
    this.backend = backend;
    this.objective = objectives[job.task ?? 'classification'];
    this.statistics = new TapStatistics(job.shape);
    const recordBytes = sampleBytes(job.shape, job.codec.bits);
    const { spillDir } = job;
    const cache = (memoryLimit: number) =>
      new ActivationCache({ recordBytes, memoryLimit, spillDir });
    this.caches = { train: cache(job.cacheLimit * 0.8), valid: cache(job.cacheLimit * 0.2) };
  }

  /** Bytes of cached activations, in memory and in spill files. */
  get cacheBytes(): { memory: number; spilled: number } {
    const { train, valid } = this.caches;
    return {
      memory: train.memoryBytes + valid.memoryBytes,
      spilled: train.spilledBytes + valid.spilledBytes,
    };
  }

  /** Stores a batch. @throws FormatError when its size is not what the job said */
  receive(batch: ReceivedBatch): void {
    const records = layersToSamples(batch.taps, batch.rows.length);
    const rows = batch.rows.map((id, b) => {
      this.caches[batch.split].put(id, records[b]);
      return { split: batch.split, id, label: batch.labels[b] };
    });
    this.received[batch.split].push(...rows);
    if (batch.split === 'train') this.batches.push(rows);
  }

  /** The whole training: the side network, then the baselines on the same rows. */
  *run(): Generator<TrainerEvent, void> {
    const { options, shape } = this.job;
    for (const trained of this.trained) yield { kind: 'trained', trained };
    const names = [options.side, ...options.baselines].slice(this.trained.length);
    for (const name of names) yield* this.train(createSideModel(name, shape, options));
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
    if (this.batches.length < stepped) {
      throw new FormatError(
        `read job: ${this.batches.length} batches are there, steps were made on ${stepped}`,
        'E_STATE',
      );
    }
    for (const row of this.batches.slice(0, stepped).flat()) this.statistics.add(this.sample(row));
    if (!first) this.standardizer = this.statistics.standardizer();
    this.trained.push(...trained);
    this.candidates = [...candidates];
    this.resumed = fit;
  }

  /** Removes cached activations. */
  close(): void {
    this.caches.train.close();
    this.caches.valid.close();
  }

  /** Chooses an epoch by the validation rows and, with `refit`, trains that long on all rows. */
  private *train(model: SideModel): Generator<TrainerEvent, void> {
    const { options, rows } = this.job;
    const first = {
      ...{ again: false, rows: rows.train, epochs: options.epochs },
      ...{ epochsBefore: 0, stepsBefore: 0 },
    };
    const reshuffled = this.shuffled(this.received.train);
    const source: BatchSource = (epoch, b) => this.nextBatch(epoch, b, reshuffled);
    for (const event of this.resumed?.again ? [] : this.fit(model, first, source)) {
      if (event.kind !== 'fitted') {
        yield event;
        continue;
      }
      while (this.received.valid.length < rows.valid) yield { kind: 'wait' };
      this.standardizer ??= this.statistics.standardizer();
      const { epoch, trainLoss, params } = event;
      const { validLoss, validAccuracy, validError } = this.evaluate(model, params);
      yield { kind: 'epoch', model: model.name, epoch, trainLoss, validLoss, validAccuracy };
      this.candidates.push({
        name: model.name,
        bestEpoch: epoch,
        epochs: options.epochs,
        validAccuracy,
        validLoss,
        validError,
        parameters: leaves(params).reduce((n, leaf) => n + leaf.numel, 0),
        weights: this.save(model, params),
      });
      this.candidates = asGoodAsBest(this.candidates);
    }
    let best = this.candidates.at(-1);
    if (best && options.refit) {
      const all = [...this.received.train, ...this.received.valid];
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
        for (let b = begin; b < perEpoch; b++) {
          const batch = yield* batchOf(epoch, b);
          const stepped = this.step(model, params, state, batch, rateAt(state.step));
          disposeTree([params, state.m, state.v]);
          ({ params, state } = stepped);
          lossSum += stepped.loss * batch.length;
          this.cursor = { again, epoch, batch: b + 1, lossSum, params, state };
          yield {
            kind: 'step',
            model: model.name,
            step: plan.stepsBefore + state.step,
            totalSteps: plan.stepsBefore + totalSteps,
            epoch: plan.epochsBefore + epoch,
            loss: stepped.loss,
            gradNorm: stepped.gradNorm,
          };
        }
        yield { kind: 'fitted', epoch, trainLoss: lossSum / plan.rows, params };
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
      while (this.batches.length <= b) yield { kind: 'wait' };
      for (const row of this.batches[b]) this.statistics.add(this.sample(row));
      return this.batches[b];
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

  private step(
    model: SideModel,
    params: Tree,
    state: AdamWState<Tree>,
    batch: readonly Row[],
    learningRate: number,
  ) {
    const { options } = this.job;
    return scope(() => {
      const taps = this.taps(batch, this.dropout(model, state.step));
      const targets = this.targets(batch);
      const { labelSmoothing, weightDecay, maxGradNorm } = options;
      const rates = { labelSmoothing, weightDecay, maxGradNorm, learningRate };
      const from = { params, state };
      const next = sideStep(model, this.objective, from, { taps, targets }, rates);
      return {
        params: keep(next.params),
        state: keep(next.state),
        loss: next.loss.item(),
        gradNorm: next.gradNorm.item(),
      };
    });
  }

  /** What the validation rows say. */
  private evaluate(model: SideModel, params: Tree): EpochScore {
    const rows = this.received.valid;
    const scores: RowScore[] = [];
    const size = this.job.options.batchSize;
    for (let start = 0; start < rows.length; start += size) {
      const batch = rows.slice(start, start + size);
      scope(() => {
        const logits = model.logits(params, this.taps(batch));
        const labels = batch.map(({ label }) => label);
        scores.push(...this.objective.scoreRows(logits, labels));
      });
    }
    return this.objective.scoreEpoch(scores);
  }

  /** The step's own random numbers, so that a continued training drops what it would have dropped. */
  private dropout(model: SideModel, step: number): TapDropout | undefined {
    const { tapDropout: rate = 0 } = model;
    if (rate === 0) return undefined;
    const rng = random(this.job.options.seed).fork(model.name).fork('dropout').fork(step);
    return { rate, rng };
  }

  private taps(batch: readonly Row[], dropout?: TapDropout) {
    const samples = batch.map((row) => this.sample(row));
    const standardizer = this.standardizer ?? this.statistics.standardizer();
    return tapTensors(samples, this.job.shape, standardizer, this.backend, dropout);
  }

  private targets(batch: readonly Row[]) {
    const labels = batch.map(({ label }) => label);
    return this.objective.targets(labels, this.backend);
  }

  /** A row's taps, decoded and RMS-normed: `[L, K, D]`. */
  private sample({ split, id }: Row): Float32Array {
    return decodeSample(this.caches[split].get(id), this.job.shape, this.job.codec);
  }
}

/**
 * Those that lie within one standard error of the best on the validation rows: by accuracy, or
 * without classes by loss (the rule of Breiman et al. 1984, section 3.4.3). The last of them is
 * taken: between epochs that the rows cannot tell apart, the one at the lower learning rate.
 */
function asGoodAsBest(models: readonly TrainedModel[]): TrainedModel[] {
  const score = ({ validAccuracy, validLoss }: TrainedModel) => validAccuracy ?? -validLoss;
  const best = models.reduce((a, b) => (score(b) > score(a) ? b : a));
  return models.filter((model) => score(model) >= score(best) - best.validError);
}
