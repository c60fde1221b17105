import { epochBatches } from '../data/index.ts';
import {
  type AdamWState,
  adamwInit,
  adamwStep,
  type ChannelAffine,
  createSideModel,
  decodeSample,
  encodeAdapterWeights,
  exportParams,
  layersToSamples,
  type SideModel,
  type SideShape,
  sampleBytes,
  type TapCodec,
  TapStatistics,
  tapTensors,
  warmupCosine,
} from '../model/index.ts';
import {
  argmax,
  type Backend,
  crossEntropy,
  disposeTree,
  keep,
  random,
  scope,
  type Tree,
  tensor,
  valueAndGrad,
} from '../tensor/index.ts';
import { ActivationCache } from './activation-cache.ts';
import type { TrainingOptions } from './training-options.ts';

/** Which rows: those trained on, or those that choose the best epoch. */
export type Split = 'train' | 'valid';

/** One batch as the device sent it. */
export interface ReceivedBatch {
  readonly split: Split;
  /** Row ids, unique within the split. */
  readonly rows: readonly number[];
  readonly labels: readonly number[];
  /** Per tapped layer, the codec's bytes of `[B*K, D]`, a sample's K rows together. */
  readonly taps: readonly Uint8Array[];
}

/** What a job fixes before its first row. */
export interface TrainingJob {
  readonly shape: SideShape;
  readonly codec: TapCodec;
  /** Rows to come. */
  readonly rows: Readonly<Record<Split, number>>;
  readonly options: TrainingOptions;
  /** Bytes of activations held in memory before they spill. */
  readonly cacheLimit: number;
  readonly spillDir?: string;
}

/** What the trainer has done since it was last asked. */
export type TrainerEvent =
  /** Nothing to do before more rows come. */
  | { readonly kind: 'wait' }
  | {
      readonly kind: 'step';
      readonly model: string;
      readonly step: number;
      readonly totalSteps: number;
      /** From 1. */
      readonly epoch: number;
      readonly loss: number;
      readonly gradNorm: number;
    }
  | {
      readonly kind: 'epoch';
      readonly model: string;
      readonly epoch: number;
      readonly trainLoss: number;
      readonly validLoss: number;
      readonly validAccuracy: number;
    }
  | { readonly kind: 'trained'; readonly trained: TrainedModel };

/** A side model after its last epoch: the parameters of the best one on the validation rows. */
export interface TrainedModel {
  readonly name: string;
  readonly bestEpoch: number;
  readonly epochs: number;
  readonly validAccuracy: number;
  readonly validLoss: number;
  readonly parameters: number;
  /** Contents of adapter_model.safetensors. */
  readonly weights: Uint8Array;
}

interface Row {
  readonly id: number;
  readonly label: number;
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
  private readonly statistics: TapStatistics;
  private readonly caches: Record<Split, ActivationCache>;
  private readonly received: Record<Split, Row[]> = { train: [], valid: [] };
  private readonly batches: Row[][] = [];
  private standardizer: ChannelAffine | undefined;

  constructor(job: TrainingJob, backend: Backend) {
    this.job = job;
    this.backend = backend;
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
      return { id, label: batch.labels[b] };
    });
    this.received[batch.split].push(...rows);
    if (batch.split === 'train') this.batches.push(rows);
  }

  /** The whole training: the side network, then the baselines on the same rows. */
  *run(): Generator<TrainerEvent, void> {
    const { options, shape } = this.job;
    for (const name of [options.side, ...options.baselines]) {
      yield* this.train(createSideModel(name, shape, options));
    }
  }

  /** Removes cached activations. */
  close(): void {
    this.caches.train.close();
    this.caches.valid.close();
  }

  private *train(model: SideModel): Generator<TrainerEvent, void> {
    const { options, rows } = this.job;
    const rng = random(options.seed).fork(model.name);
    const perEpoch = Math.ceil(rows.train / options.batchSize);
    const totalSteps = perEpoch * options.epochs;
    const rateAt = warmupCosine({
      peak: options.learningRate,
      warmupSteps: Math.round(totalSteps * options.warmupRatio),
      totalSteps,
    });
    let params = keep(model.init(rng.fork('init'), this.backend));
    let state = keep(adamwInit(params));
    let best: TrainedModel | undefined;
    try {
      for (let epoch = 1; epoch <= options.epochs; epoch++) {
        let lossSum = 0;
        for (let b = 0; b < perEpoch; b++) {
          const batch = yield* this.nextBatch(epoch, b);
          const stepped = this.step(model, params, state, batch, rateAt(state.step));
          disposeTree([params, state.m, state.v]);
          ({ params, state } = stepped);
          lossSum += stepped.loss * batch.length;
          yield {
            kind: 'step',
            model: model.name,
            step: state.step,
            totalSteps,
            epoch,
            loss: stepped.loss,
            gradNorm: stepped.gradNorm,
          };
        }
        while (this.received.valid.length < rows.valid) yield { kind: 'wait' };
        this.standardizer ??= this.statistics.standardizer();
        const valid = this.evaluate(model, params, this.received.valid);
        yield {
          kind: 'epoch',
          model: model.name,
          epoch,
          trainLoss: lossSum / rows.train,
          validLoss: valid.loss,
          validAccuracy: valid.accuracy,
        };
        if (!best || isBetter(valid, best)) {
          const weights = {
            params: exportParams(params),
            standardizer: this.standardizer,
            calibration: this.job.codec.calibration,
          };
          best = {
            name: model.name,
            bestEpoch: epoch,
            epochs: options.epochs,
            validAccuracy: valid.accuracy,
            validLoss: valid.loss,
            parameters: [...weights.params.values()].reduce((n, p) => n + p.values.length, 0),
            weights: encodeAdapterWeights(weights, model),
          };
        }
      }
    } finally {
      disposeTree([params, state.m, state.v]);
    }
    if (best) yield { kind: 'trained', trained: best };
  }

  /** Batch b of an epoch; in the first epoch of the first model, as soon as it is there. */
  private *nextBatch(epoch: number, b: number): Generator<TrainerEvent, readonly Row[]> {
    const { rows, options } = this.job;
    if (this.standardizer === undefined && epoch === 1) {
      while (this.batches.length <= b) yield { kind: 'wait' };
      for (const row of this.batches[b]) this.statistics.add(this.sample('train', row.id));
      return this.batches[b];
    }
    const { batchSize, seed } = options;
    const order = epochBatches({ count: rows.train, batchSize, seed, epoch: epoch - 1 });
    return order[b].map((i) => this.received.train[i]);
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
      const taps = this.taps('train', batch);
      const targets = this.targets(batch);
      const lossOf = (p: Tree) =>
        crossEntropy(model.logits(p, taps), targets, { reduction: 'mean' });
      const { value, grads } = valueAndGrad(lossOf)(params);
      const next = adamwStep(params, grads, state, {
        learningRate,
        weightDecay: options.weightDecay,
        maxGradNorm: options.maxGradNorm,
        rate: model.rate,
        decays: model.decays,
      });
      return {
        params: keep(next.params),
        state: keep(next.state),
        loss: value.item(),
        gradNorm: next.gradNorm.item(),
      };
    });
  }

  private evaluate(model: SideModel, params: Tree, rows: readonly Row[]) {
    let loss = 0;
    let correct = 0;
    const size = this.job.options.batchSize;
    for (let start = 0; start < rows.length; start += size) {
      const batch = rows.slice(start, start + size);
      scope(() => {
        const logits = model.logits(params, this.taps('valid', batch));
        loss += crossEntropy(logits, this.targets(batch), { reduction: 'sum' }).item();
        const predicted = argmax(logits, 1).toArray();
        batch.forEach((row, i) => {
          if (predicted[i] === row.label) correct++;
        });
      });
    }
    return { loss: loss / rows.length, accuracy: correct / rows.length };
  }

  private taps(split: Split, batch: readonly Row[]) {
    const samples = batch.map((row) => this.sample(split, row.id));
    const standardizer = this.standardizer ?? this.statistics.standardizer();
    return tapTensors(samples, this.job.shape, standardizer, this.backend);
  }

  private targets(batch: readonly Row[]) {
    const labels = Int32Array.from(batch, (row) => row.label);
    return tensor(labels, [batch.length], { backend: this.backend });
  }

  /** A row's taps, decoded and RMS-normed: `[L, K, D]`. */
  private sample(split: Split, row: number): Float32Array {
    return decodeSample(this.caches[split].get(row), this.job.shape, this.job.codec);
  }
}

/** More accurate on the validation rows; at equal accuracy, with the smaller loss. */
function isBetter(
  a: { accuracy: number; loss: number },
  b: { validAccuracy: number; validLoss: number },
): boolean {
  return a.accuracy > b.validAccuracy || (a.accuracy === b.validAccuracy && a.loss < b.validLoss);
}
