import type { Sample } from '../data/index.ts';
import type {
  Backbone,
  ChannelAffine,
  KvCache,
  LoadedAdapter,
  SideShape,
  Tokenizer,
} from '../model/index.ts';
import { decodeSample, layersToSamples, tapTensors } from '../model/side/taps.ts';
import { disposeTree, scope, softmax, UsageError } from '../tensor/index.ts';
import { calibrate, encodePooled } from './calibration.ts';
import { shapeOfPlan, type TapPlan } from './tap-plan.ts';
import { poolTaps } from './tap-pooling.ts';
import { wordSample } from './wording.ts';

/** What came of a batch, whatever form its taps have. */
export interface TapBatch<Taps> {
  /** Per tapped layer. */
  readonly taps: Taps[];
  readonly samples: number;
  /** Tokens run through the backbone. */
  readonly tokens: number;
  /** Samples cut to the longest allowed. */
  readonly truncated: number;
}

/** A batch after the backbone: pooled taps `[B*K, D]` a layer. */
export type PooledBatch = TapBatch<Float32Array>;

/** A batch as it is sent: the codec's bytes of `[B*K, D]` a layer. */
export type EncodedBatch = TapBatch<Uint8Array>;

/** Probabilities of every class for every sample, `[B][C]`; of a regression the number, standardised. */
export type Probabilities = readonly Float32Array[];

/**
 * The device's part: the frozen backbone forward, taps pooled and quantized. Synchronous compute;
 * run it in a worker where something else shares the event loop.
 */
export class DeviceEngine {
  readonly backbone: Backbone;
  readonly tokenizer: Tokenizer;
  private plan: TapPlan | undefined;
  private prefix: KvCache | undefined;
  private calibration: ChannelAffine | undefined;

  constructor(backbone: Backbone, tokenizer: Tokenizer) {
    this.backbone = backbone;
    this.tokenizer = tokenizer;
  }

  /**
   * Fixes what is tapped, and runs the prefix through the backbone once.
   * @returns tokens of the prefix
   * @throws UsageError for layers the model does not have or a prefix that leaves no room
   */
  usePlan(plan: TapPlan): { prefixTokens: number } {
    const { numHiddenLayers, maxPositionEmbeddings } = this.backbone.config;
    const bad = plan.layers.find((l) => !Number.isInteger(l) || l < 0 || l > numHiddenLayers);
    if (bad !== undefined || plan.layers.length === 0) {
      throw new UsageError(
        `--layers: ${bad ?? 'none'} given, the model has layers 1 to ${numHiddenLayers} (0 is the embedding)`,
      );
    }
    this.prefix?.dispose();
    this.prefix = undefined;
    this.plan = plan;
    this.calibration = undefined;
    if (plan.prefix && this.backbone.family === 'encoder') {
      throw new UsageError(
        `--prefix-shots: ${this.backbone.config.modelType} is an encoder and keeps no prefix; use 0`,
      );
    }
    const ids = plan.prefix ? Int32Array.from(this.tokenizer.encode(plan.prefix)) : undefined;
    if (!ids) return { prefixTokens: 0 };
    if (ids.length + plan.maxSeqLength > maxPositionEmbeddings) {
      throw new UsageError(
        `--prefix-shots: ${ids.length} tokens of examples and ${plan.maxSeqLength} of a sample exceed the context of ${maxPositionEmbeddings}; use fewer shots`,
      );
    }
    this.prefix = this.backbone.newCache(ids.length);
    this.backbone
      .forward({ ids, lengths: [ids.length], past: this.prefix, extendPast: true })
      .dispose();
    return { prefixTokens: ids.length };
  }

  /**
   * Calibrates the codec with a batch of samples; what follows is encoded with it.
   * @returns what the receiver has to know
   */
  calibrate(samples: readonly Sample[]): ChannelAffine {
    const { taps } = this.pool(samples);
    this.calibration = calibrate(taps, samples.length, this.shape);
    return this.calibration;
  }

  /** Encodes as an earlier job did. */
  useCalibration(calibration: ChannelAffine): void {
    this.calibration = calibration;
  }

  /**
   * Runs samples through the backbone and encodes what is sent of them.
   * @throws UsageError before `calibrate` or `useCalibration`
   */
  encode(samples: readonly Sample[]): EncodedBatch {
    const { bits } = this.currentPlan();
    const { calibration, shape } = this;
    if (!calibration) throw new UsageError('device: calibrate comes before encode');
    const { taps, ...rest } = this.pool(samples);
    return { ...rest, taps: encodePooled(taps, samples.length, shape, { bits, calibration }) };
  }

  /** Runs samples through the backbone; per planned layer the pooled taps `[B*K, D]`. */
  pool(samples: readonly Sample[]): PooledBatch {
    const plan = this.currentPlan();
    let truncated = 0;
    const rows = samples.map((sample) => {
      const fitted = wordSample(this.tokenizer, sample, plan);
      if (fitted.truncated) truncated++;
      return fitted;
    });
    const lengths = rows.map(({ ids }) => ids.length);
    const ids = Int32Array.from(rows.flatMap((row) => row.ids));
    const tokenTypes = rows.some((row) => row.tokenTypes)
      ? Int32Array.from(rows.flatMap((row) => row.tokenTypes ?? row.ids.map(() => 0)))
      : undefined;
    const width = this.backbone.config.hiddenSize;
    const wanted = new Map(plan.layers.map((layer, index) => [layer, index]));
    const taps: Float32Array[] = new Array(plan.layers.length);
    const batch = { ids, lengths, tokenTypes, past: this.prefix };
    const last = this.backbone.forward(batch, (layer, hidden) => {
      const index = wanted.get(layer);
      if (index === undefined) return;
      const { backend, handle, numel } = hidden;
      // Pooled where they lie, if they can be seen there.
      const rows = (backend.view?.(handle, 'f32', numel) ?? hidden.toArray()) as Float32Array;
      taps[index] = poolTaps(rows, lengths, width, plan.kinds);
    });
    last.dispose();
    return { taps, samples: samples.length, tokens: ids.length, truncated };
  }

  /**
   * Class probabilities, or the number, of encoded samples under an adapter: from the decoded taps, so that the
   * device sees what the server saw.
   */
  classify(adapter: LoadedAdapter, batch: EncodedBatch): Probabilities {
    const { model, params, standardizer, calibration } = adapter;
    const { shape } = model;
    const codec = { bits: this.currentPlan().bits, calibration };
    const samples = layersToSamples(batch.taps, batch.samples).map((bytes) =>
      decodeSample(bytes, shape, codec),
    );
    return scope(() => {
      const taps = tapTensors(samples, shape, standardizer, this.backbone.backend);
      const outputs = model.logits(params, taps);
      // One output is a number: there are no classes to share it.
      const flat = (shape.classes === 1 ? outputs : softmax(outputs)).toFloat32();
      return samples.map((_, b) => flat.slice(b * shape.classes, (b + 1) * shape.classes));
    });
  }

  /** Gives the memory of prefix and backbone back. */
  dispose(): void {
    this.prefix?.dispose();
    this.backbone.dispose();
  }

  private get shape(): SideShape {
    return shapeOfPlan(this.currentPlan(), this.backbone.config.hiddenSize);
  }

  private currentPlan(): TapPlan {
    if (!this.plan) throw new UsageError('device: usePlan comes before encode and classify');
    return this.plan;
  }
}

/** Frees an adapter's tensors. */
export function disposeAdapter(adapter: LoadedAdapter): void {
  disposeTree(adapter.params);
}
