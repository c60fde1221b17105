import { renderTemplate, type Sample } from '../data/index.ts';
import {
  type Backbone,
  type ChannelAffine,
  decodeSample,
  type KvCache,
  type LoadedAdapter,
  layersToSamples,
  type Tokenizer,
  tapTensors,
} from '../model/index.ts';
import { encodeActivations } from '../quant/index.ts';
import { disposeTree, scope, softmax, UsageError } from '../tensor/index.ts';
import { calibrate } from './calibration.ts';
import { shapeOfPlan, type TapPlan } from './tap-plan.ts';
import { poolTaps } from './tap-pooling.ts';

/** A batch after the backbone: what is sent, and what it took. */
export interface EncodedBatch {
  /** Per tapped layer, the codec's bytes of `[B*K, D]`. */
  readonly taps: Uint8Array[];
  readonly samples: number;
  /** Tokens run through the backbone. */
  readonly tokens: number;
  /** Samples cut to the longest allowed. */
  readonly truncated: number;
}

/** Probabilities of every class for every sample, `[B][C]`. */
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
    const { pooled } = this.tap(samples);
    const shape = shapeOfPlan(this.currentPlan(), this.backbone.config.hiddenSize);
    this.calibration = calibrate(pooled, samples.length, shape);
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
    const { bits, kinds } = this.currentPlan();
    const { calibration } = this;
    if (!calibration) throw new UsageError('device: calibrate comes before encode');
    const { pooled, tokens, truncated } = this.tap(samples);
    const width = this.backbone.config.hiddenSize;
    const block = kinds.length * width;
    const taps = pooled.map((values, layer) => {
      const from = layer * block;
      for (let i = 0; i < values.length; i++) {
        const channel = from + (i % block);
        values[i] = (values[i] - calibration.mean[channel]) / calibration.scale[channel];
      }
      return encodeActivations(values, samples.length * kinds.length, width, bits);
    });
    return { taps, samples: samples.length, tokens, truncated };
  }

  /**
   * Class probabilities of encoded samples under an adapter: from the decoded taps, so that the
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
      const flat = softmax(model.logits(params, taps)).toFloat32();
      return samples.map((_, b) => flat.slice(b * shape.classes, (b + 1) * shape.classes));
    });
  }

  dispose(): void {
    this.prefix?.dispose();
    this.backbone.dispose();
  }

  /** Pooled taps of every planned layer, `[B*K, D]`. */
  private tap(samples: readonly Sample[]) {
    const plan = this.currentPlan();
    let truncated = 0;
    const rows = samples.map((sample) => {
      const fitted = this.tokenize(sample, plan);
      if (fitted.truncated) truncated++;
      return fitted.ids;
    });
    const lengths = rows.map((ids) => ids.length);
    const ids = Int32Array.from(rows.flat());
    const width = this.backbone.config.hiddenSize;
    const wanted = new Map(plan.layers.map((layer, index) => [layer, index]));
    const pooled: Float32Array[] = new Array(plan.layers.length);
    const last = this.backbone.forward({ ids, lengths, past: this.prefix }, (layer, hidden) => {
      const index = wanted.get(layer);
      if (index === undefined) return;
      pooled[index] = poolTaps(hidden.toFloat32(), lengths, width, plan.kinds);
    });
    last.dispose();
    return { pooled, tokens: ids.length, truncated };
  }

  private currentPlan(): TapPlan {
    if (!this.plan) throw new UsageError('device: usePlan comes before encode and classify');
    return this.plan;
  }

  /**
   * Token ids of the worded sample. One that is too long loses the end of its text, never the
   * template's words behind it, which carry the question.
   */
  private tokenize(sample: Sample, plan: TapPlan): { ids: number[]; truncated: boolean } {
    const { template, labels, maxSeqLength } = plan;
    const word = (text: string, textPair: string | undefined) =>
      this.tokenizer.encode(renderTemplate(template, { text, textPair, labels }));
    let ids = word(sample.text, sample.textPair);
    if (ids.length > 0 && ids.length <= maxSeqLength) return { ids, truncated: false };
    if (ids.length === 0) return { ids: [this.tokenizer.eosTokenId ?? 0], truncated: false };
    // Drop the excess from the text (and the pair, half each), then check: token counts of parts
    // do not add up exactly.
    const text = this.tokenizer.encode(sample.text);
    const pair = this.tokenizer.encode(sample.textPair ?? '');
    for (let excess = ids.length - maxSeqLength; ids.length > maxSeqLength; excess++) {
      const fromPair = Math.min(pair.length, Math.floor(excess / 2));
      const fromText = excess - fromPair;
      if (fromText > text.length) {
        throw new UsageError(
          `--max-seq-length: ${maxSeqLength} tokens do not hold the template itself`,
        );
      }
      ids = word(
        this.tokenizer.decode(text.slice(0, text.length - fromText)),
        sample.textPair === undefined
          ? undefined
          : this.tokenizer.decode(pair.slice(0, pair.length - fromPair)),
      );
    }
    return { ids, truncated: true };
  }
}

/** Frees an adapter's tensors. */
export function disposeAdapter(adapter: LoadedAdapter): void {
  disposeTree(adapter.params);
}
