import type { Sample } from '../data/index.ts';
import type {
  Backbone,
  ChannelAffine,
  ChatTemplate,
  HiddenTuner,
  KvCache,
  LoadedAdapter,
  SideShape,
  Tokenizer,
} from '../model/index.ts';
import { type CodedLmHead, encodeLmHead, openLmHead, tokenLosses } from '../model/side/lm-head.ts';
import { partTokens } from '../model/side/lm-parts.ts';
import { lmTuner } from '../model/side/lm-tuner.ts';
import { decodeSample, layersToSamples, tapTensors } from '../model/side/taps.ts';
import {
  disposeTree,
  gatherRows,
  scope,
  softmax,
  type Tensor,
  tensor,
  UsageError,
} from '../tensor/index.ts';
import { calibrateLayer, encodeLayer, joinLayers } from './calibration.ts';
import { type LabelLoss, type LabelLossRequest, labelLoss, labelsOfRuns } from './label-loss.ts';
import { type LossTokens, lossTokens } from './lm-wording.ts';
import { prefixIds } from './prefix.ts';
import type { TapKind } from './tap-kinds.ts';
import { checkLayers, shapeOfPlan, type TapPlan } from './tap-plan.ts';
import { poolTaps, takeTokens } from './tap-pooling.ts';
import { tailTokens, type WordedSample, wordSample } from './wording.ts';

/** What a batch was, beside its taps. */
export interface BatchCounts {
  readonly samples: number;
  /** Tokens run through the backbone. */
  readonly tokens: number;
  /** Samples cut to the longest allowed. */
  readonly truncated: number;
  /** Of a language model: what follows each token sent, and how many a sample sends. */
  readonly next?: Pick<LossTokens, 'labels' | 'counts'>;
}

/** What came of a batch, whatever form its taps have. */
export interface TapBatch<Taps> extends BatchCounts {
  /** Per tapped layer. */
  readonly taps: Taps[];
}

/** A batch after the backbone: pooled taps `[B*K, D]` a layer; of a language model B are its loss tokens. */
export type PooledBatch = TapBatch<Float32Array>;

/** A batch as it is sent: the codec's bytes of `[B*K, D]` a layer. */
export type EncodedBatch = TapBatch<Uint8Array>;

/** Hears what is sent of a batch's layer, by its place in the plan. */
export type OnLayer = (index: number, bytes: Uint8Array) => void;

/** What a language model's next-token losses over some samples sum up to, in nats. */
export interface TokenScores {
  /** Tokens in the loss. */
  readonly scored: number;
  readonly baseLoss: number;
  readonly tunedLoss: number;
  /** Tokens run through the backbone. */
  readonly tokens: number;
  /** Samples cut to the longest allowed. */
  readonly truncated: number;
}

/** Probabilities of every class for every sample, `[B][C]`; of a regression the number, standardised. */
export type Probabilities = readonly Float32Array[];

/**
 * The device's part: the frozen backbone forward, taps pooled and quantized. Synchronous compute;
 * run it in a worker where something else shares the event loop.
 */
export class DeviceEngine {
  readonly backbone: Backbone;
  readonly tokenizer: Tokenizer;
  /** Words conversations, where the model has one. */
  readonly chatTemplate: ChatTemplate | undefined;
  private plan: TapPlan | undefined;
  /** Tokens of the template's words behind the text, where they are tapped. */
  private tail = 1;
  private prefix: KvCache | undefined;
  private calibration: ChannelAffine | undefined;
  private codedHead: CodedLmHead | undefined;

  constructor(backbone: Backbone, tokenizer: Tokenizer, chatTemplate?: ChatTemplate) {
    this.backbone = backbone;
    this.tokenizer = tokenizer;
    this.chatTemplate = chatTemplate;
  }

  /**
   * Fixes what is tapped, and runs the prefix through the backbone once.
   * @returns tokens of the prefix
   * @throws UsageError for layers the model does not have or a prefix that leaves no room
   */
  usePlan(plan: TapPlan): { prefixTokens: number } {
    const { numHiddenLayers, maxPositionEmbeddings } = this.backbone.config;
    if (plan.lm && !this.backbone.outputHead) {
      throw new UsageError(
        `--task lm: ${this.backbone.config.modelType} is an encoder and makes no next token; use a decoder`,
      );
    }
    checkLayers(plan, numHiddenLayers);
    const tail = plan.kinds.includes('template') ? tailTokens(this.tokenizer, plan.template) : 1;
    this.prefix?.dispose();
    this.prefix = undefined;
    this.plan = plan;
    this.tail = tail;
    this.calibration = undefined;
    if (plan.prefix && this.backbone.family === 'encoder') {
      throw new UsageError(
        `--prefix-shots: ${this.backbone.config.modelType} is an encoder and keeps no prefix; use 0`,
      );
    }
    const ids = Int32Array.from(prefixIds(this.tokenizer, plan, this.chatTemplate));
    if (ids.length === 0) return { prefixTokens: 0 };
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
    const { shape } = this;
    const layers: ChannelAffine[] = [];
    this.run(samples, (index, pooled) => {
      layers[index] = calibrateLayer(pooled, shape);
    });
    this.calibration = joinLayers(layers);
    return this.calibration;
  }

  /** Encodes as an earlier job did. */
  useCalibration(calibration: ChannelAffine): void {
    this.calibration = calibration;
  }

  /** Runs samples through the backbone and encodes what is sent of them. @throws as `encodeLayers` */
  encode(samples: readonly Sample[]): EncodedBatch {
    const taps: Uint8Array[] = [];
    const counts = this.encodeLayers(samples, (index, bytes) => {
      taps[index] = bytes;
    });
    return { ...counts, taps };
  }

  /**
   * The same, each layer handed over while those above it are still to be computed: in f32 only one
   * is ever held, where a language model's tokens make them large.
   * @throws UsageError before `calibrate` or `useCalibration`
   */
  encodeLayers(samples: readonly Sample[], onLayer: OnLayer): BatchCounts {
    const { bits } = this.currentPlan();
    const { calibration, shape } = this;
    if (!calibration) throw new UsageError('device: calibrate comes before encode');
    const codec = { bits, calibration };
    return this.run(samples, (index, pooled) => {
      onLayer(index, encodeLayer(pooled, index, shape, codec, this.backbone.backend));
    });
  }

  /** Runs samples through the backbone; per planned layer the pooled taps `[B*K, D]`. */
  pool(samples: readonly Sample[]): PooledBatch {
    const taps: Float32Array[] = [];
    const counts = this.run(samples, (index, pooled) => {
      taps[index] = pooled;
    });
    return { ...counts, taps };
  }

  /** Runs samples through the backbone; `use` is given each planned layer's pooled taps as they come. */
  private run(
    samples: readonly Sample[],
    use: (index: number, pooled: Float32Array) => void,
  ): BatchCounts {
    const plan = this.currentPlan();
    let truncated = 0;
    const rows = samples.map((sample) => {
      const fitted = wordSample(this.tokenizer, sample, plan, this.chatTemplate);
      if (fitted.truncated) truncated++;
      return fitted;
    });
    const lengths = rows.map(({ ids }) => ids.length);
    const tokens = plan.lm && lossTokens(rows);
    const ids = Int32Array.from(rows.flatMap((row) => row.ids));
    const tokenTypes = rows.some((row) => row.tokenTypes)
      ? Int32Array.from(rows.flatMap((row) => row.tokenTypes ?? row.ids.map(() => 0)))
      : undefined;
    const width = this.backbone.config.hiddenSize;
    const wanted = new Map(plan.layers.map((layer, index) => [layer, index]));
    const batch = { ids, lengths, tokenTypes, past: this.prefix };
    const last = this.backbone.forward(batch, (layer, hidden) => {
      const index = wanted.get(layer);
      if (index === undefined) return;
      const { backend, handle, numel } = hidden;
      // Pooled where they lie, if they can be seen there.
      const rows = (backend.view?.(handle, 'f32', numel) ?? hidden.toArray()) as Float32Array;
      const pooled = tokens
        ? takeTokens(rows, tokens.positions, width)
        : poolTaps(rows, lengths, width, plan.kinds as readonly TapKind[], this.tail);
      use(index, pooled);
    });
    last.dispose();
    const next = tokens && { labels: tokens.labels, counts: tokens.counts };
    return {
      ...{ samples: samples.length, tokens: ids.length, truncated },
      ...(next && { next }),
    };
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

  /**
   * The frozen output head as a server needs it.
   * @throws UsageError of an encoder, which has none
   */
  outputHead(): Uint8Array {
    const { outputHead, backend, config } = this.backbone;
    if (outputHead) return encodeLmHead(outputHead, backend);
    throw new UsageError(`${config.modelType} is an encoder and makes no next token`);
  }

  /**
   * The loss of a server's states against this end's labels, through the head in the 8 bits in which
   * it would travel: the numbers are those of a server that has both.
   * @throws ProtocolError (E_JOB) for tokens that a sample does not have; UsageError of an encoder
   */
  labelLoss({ runs, ...request }: LabelLossRequest): LabelLoss {
    const plan = this.currentPlan();
    const { backend, config } = this.backbone;
    const labels = labelsOfRuns(
      runs,
      (sample) => lossTokens([wordSample(this.tokenizer, sample, plan, this.chatTemplate)]).labels,
    );
    const { vocabSize: vocab, hiddenSize: width } = config;
    this.codedHead ??= openLmHead(this.outputHead(), { vocab, width }, backend);
    return labelLoss(this.codedHead, labels, request, backend);
  }

  /** What stands in front of every prompt, by the plan; the engine's own. */
  get promptPrefix(): KvCache | undefined {
    return this.prefix;
  }

  /** An adapter of a language model, trained under the plan, beside the backbone. */
  tuner(adapter: LoadedAdapter): HiddenTuner {
    return lmTuner(adapter, this.currentPlan().layers, this.backbone.backend);
  }

  /**
   * How well a language model foresees samples behind the plan's examples, alone and with an adapter:
   * from its hidden states as they are, not as they travel. Some hundred tokens at a time: of each, a
   * state in f32 for every tapped layer is held.
   */
  score(adapter: LoadedAdapter, samples: readonly Sample[]): TokenScores {
    const plan = this.currentPlan();
    const { tokenizer, chatTemplate, backbone } = this;
    // A row without a token in the loss says nothing, and may be none at all.
    const rows = samples
      .map((one) => wordSample(tokenizer, one, plan, chatTemplate))
      .filter(({ loss = [] }) => loss.some((learnt, t) => learnt && t > 0));
    const tuner = this.tuner(adapter);
    const sums = { scored: 0, baseLoss: 0, tunedLoss: 0, tokens: 0, truncated: 0 };
    for (const group of inGroups(rows, partTokens(backbone.config.hiddenSize))) {
      const scores = this.scoreGroup(tuner, group);
      for (const key of Object.keys(sums) as (keyof TokenScores)[]) sums[key] += scores[key];
    }
    return sums;
  }

  private scoreGroup(tuner: HiddenTuner, rows: readonly WordedSample[]): TokenScores {
    const { backbone } = this;
    const { backend } = backbone;
    const ids = Int32Array.from(rows.flatMap((row) => row.ids));
    const { positions, labels } = lossTokens(rows);
    const truncated = rows.filter((row) => row.truncated).length;
    const counted = { tokens: ids.length, scored: labels.length, truncated };
    return scope(() => {
      const index = tensor(Int32Array.from(positions), [positions.length], { backend });
      const taps: Float32Array[] = [];
      const lengths = rows.map((row) => row.ids.length);
      const last = backbone.forward({ ids, lengths, past: this.prefix }, (layer, hidden) => {
        if (!tuner.layers.includes(layer)) return;
        taps.push(scope(() => gatherRows(hidden, index)).toFloat32());
      });
      const loss = (hidden: Tensor, of = labels) =>
        tokenLosses(hidden, of, (states) => backbone.logits(states)).reduce((a, b) => a + b, 0);
      const baseLoss = loss(gatherRows(last, index));
      const { hiddenSize: width } = backbone.config;
      const size = partTokens(width);
      let tunedLoss = 0;
      // A side network works on each token alone.
      for (let from = 0; from < labels.length; from += size) {
        const part = taps.map((rows) => rows.subarray(from * width, (from + size) * width));
        tunedLoss += scope(() => loss(tuner.tune(part), labels.slice(from, from + size)));
      }
      return { ...counted, baseLoss, tunedLoss };
    });
  }

  /** Bytes of keys and values of the prefix. */
  get prefixBytes(): number {
    const { k = [], v = [] } = this.prefix ?? {};
    return [...k, ...v].reduce((bytes, { numel }) => bytes + 4 * numel, 0);
  }

  /** Gives the memory of prefix and backbone back. */
  dispose(): void {
    this.prefix?.dispose();
    disposeTree(this.codedHead?.norm);
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

/** Rows in their order, in groups of so many tokens at the most, or of one row. */
function inGroups(rows: readonly WordedSample[], most: number): WordedSample[][] {
  const groups: WordedSample[][] = [];
  let tokens = most;
  for (const row of rows) {
    tokens += row.ids.length;
    if (tokens > most) {
      groups.push([]);
      tokens = row.ids.length;
    }
    groups[groups.length - 1].push(row);
  }
  return groups;
}

/** Frees an adapter's tensors. */
export function disposeAdapter(adapter: LoadedAdapter): void {
  disposeTree(adapter.params);
}
