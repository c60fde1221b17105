import { gatherQuantizedRows, kernelVariant } from '../quant/index.ts';
import {
  add,
  attention,
  type Backend,
  gatherRows,
  gelu,
  layerNorm,
  noGrad,
  reshape,
  ShapeError,
  scope,
  Tensor,
  tensor,
  UsageError,
} from '../tensor/index.ts';
import type {
  Backbone,
  BackboneConfig,
  KvCache,
  LayerTap,
  PackedBatch,
  WeightPrecision,
} from './backbone.ts';
import { type LinearWeight, linear, linears } from './nn/linear.ts';

/** BERT (Devlin et al. 2018): learned positions, token types, a layer norm after each block, GELU. */
export interface BertConfig extends BackboneConfig {
  readonly intermediateSize: number;
  readonly numAttentionHeads: number;
  readonly typeVocabSize: number;
  readonly layerNormEps: number;
}

/** One layer's weights; matrices `[out, in]`, norms and biases a vector. */
export interface BertLayerParams {
  readonly qProj: LinearWeight;
  readonly qProjBias: Tensor;
  readonly kProj: LinearWeight;
  readonly kProjBias: Tensor;
  readonly vProj: LinearWeight;
  readonly vProjBias: Tensor;
  readonly oProj: LinearWeight;
  readonly oProjBias: Tensor;
  readonly attentionNorm: Tensor;
  readonly attentionNormBias: Tensor;
  readonly upProj: LinearWeight;
  readonly upProjBias: Tensor;
  readonly downProj: LinearWeight;
  readonly downProjBias: Tensor;
  readonly outputNorm: Tensor;
  readonly outputNormBias: Tensor;
}

/** A BERT's weights; matrices of layers and words in f32 or packed, the rest in f32. */
export interface BertParams {
  /** `[V, D]`. */
  readonly embedTokens: LinearWeight;
  /** `[maxPositionEmbeddings, D]`. */
  readonly embedPositions: Tensor;
  /** `[typeVocabSize, D]`. */
  readonly embedTokenTypes: Tensor;
  readonly embeddingNorm: Tensor;
  readonly embeddingNormBias: Tensor;
  readonly layers: readonly BertLayerParams[];
}

/**
 * A frozen BERT on one backend: an encoder, whose tokens see their whole sequence. It has no head
 * for words, so it generates nothing, and no cache.
 */
export class Bert implements Backbone {
  readonly family = 'encoder';
  readonly config: BertConfig;
  readonly backend: Backend;
  readonly precision: WeightPrecision;
  private readonly params: BertParams;

  constructor(
    config: BertConfig,
    params: BertParams,
    precision: WeightPrecision,
    backend: Backend,
  ) {
    this.config = config;
    this.params = params;
    this.precision = precision;
    this.backend = backend;
  }

  get weightBytes(): number {
    return this.weights().reduce(
      (bytes, w) => bytes + (w instanceof Tensor ? w.numel * 4 : w.byteLength),
      0,
    );
  }

  get kernels(): string {
    return this.precision === 'f32'
      ? `matmul f32 (${this.backend.description})`
      : `${kernelVariant(this.backend)} [${this.precision}]`;
  }

  forward(batch: PackedBatch, tap?: LayerTap): Tensor {
    if (batch.past) throw this.noDecoder('a past');
    return noGrad(() =>
      scope(() => {
        const segments = this.segments(batch);
        let hidden = scope(() => this.embed(batch));
        tap?.(0, hidden);
        for (let i = 0; i < this.config.numHiddenLayers; i++) {
          const before = hidden;
          hidden = scope(() => this.layer(this.params.layers[i], before, segments));
          before.dispose();
          tap?.(i + 1, hidden);
        }
        return hidden;
      }),
    );
  }

  /** @throws UsageError always: an encoder has no output head */
  logits(): Tensor {
    throw this.noDecoder('logits');
  }

  /** @throws UsageError always: an encoder's tokens see what follows, so nothing can be kept */
  newCache(): KvCache {
    throw this.noDecoder('a cache');
  }

  /** Frees the weights; using the model afterwards is a DisposedError. */
  dispose(): void {
    for (const weight of this.weights()) weight.dispose();
  }

  private weights(): LinearWeight[] {
    const { layers, ...embedding } = this.params;
    return [embedding, ...layers].flatMap((part) => Object.values(part));
  }

  private noDecoder(what: string): UsageError {
    return new UsageError(
      `${this.config.modelType}: an encoder has no ${what.replace(/^a /, '')}: it reads whole texts and generates none`,
    );
  }

  /** Words, positions and token types, added and normed: `[T, D]`. */
  private embed({ ids, lengths, tokenTypes }: PackedBatch): Tensor {
    const { embedTokens: table, embedPositions, embedTokenTypes } = this.params;
    const { backend } = this;
    if (tokenTypes && tokenTypes.length !== ids.length) {
      throw new ShapeError(`bert: ${tokenTypes.length} token types for ${ids.length} tokens`);
    }
    const index = (values: Int32Array) => tensor(values, [values.length], { backend });
    const positions = Int32Array.from(
      lengths.flatMap((length) => Array.from({ length }, (_, t) => t)),
    );
    const words =
      table instanceof Tensor
        ? gatherRows(table, index(ids))
        : gatherQuantizedRows(table, index(ids));
    const types = gatherRows(embedTokenTypes, index(tokenTypes ?? new Int32Array(ids.length)));
    const sum = add(add(words, types), gatherRows(embedPositions, index(positions)));
    return this.norm(sum, this.params.embeddingNorm, this.params.embeddingNormBias);
  }

  private norm(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
    return layerNorm(x, weight, bias, this.config.layerNormEps);
  }

  /** Attention block, then MLP block; each is added to its input `[T, D]`, and the sum normed. */
  private layer(p: BertLayerParams, x: Tensor, segments: Tensor): Tensor {
    const attended = scope(() => {
      const heads = this.attend(p, x, segments);
      const sum = linear(heads, p.oProj, { bias: p.oProjBias, residual: x });
      return this.norm(sum, p.attentionNorm, p.attentionNormBias);
    });
    const inner = gelu(linear(attended, p.upProj, { bias: p.upProjBias }));
    const sum = linear(inner, p.downProj, { bias: p.downProjBias, residual: attended });
    return this.norm(sum, p.outputNorm, p.outputNormBias);
  }

  /** Heads' outputs side by side, `[T, D]`. */
  private attend(p: BertLayerParams, x: Tensor, segments: Tensor): Tensor {
    const { numAttentionHeads: heads, hiddenSize } = this.config;
    const shape = [x.shape[0], heads, hiddenSize / heads];
    const [q, k, v] = linears(
      x,
      [p.qProj, p.kProj, p.vProj],
      [p.qProjBias, p.kProjBias, p.vProjBias],
    ).map((y) => reshape(y, shape));
    return reshape(attention(q, k, v, { segments, causal: false }), x.shape);
  }

  /** First row and length of every sequence, i32 `[S, 2]`. */
  private segments({ lengths }: PackedBatch): Tensor {
    const { maxPositionEmbeddings } = this.config;
    const longest = Math.max(0, ...lengths);
    if (longest > maxPositionEmbeddings) {
      throw new UsageError(
        `a sequence of ${longest} tokens exceeds the model's context of ${maxPositionEmbeddings}; lower --max-seq-length`,
      );
    }
    const bounds = new Int32Array(2 * lengths.length);
    let start = 0;
    lengths.forEach((length, s) => {
      bounds.set([start, length], 2 * s);
      start += length;
    });
    return tensor(bounds, [lengths.length, 2], { backend: this.backend });
  }
}
