import {
  add,
  attention,
  gatherRows,
  gelu,
  layerNorm,
  reshape,
  ShapeError,
  scope,
  type Tensor,
  tensor,
  UsageError,
} from '../tensor/index.ts';
import type { BackboneConfig, KvCache, LayerTap, PackedBatch } from './backbone.ts';
import { embedding } from './nn/embedding.ts';
import { FrozenModel } from './nn/frozen-model.ts';
import { type LinearWeight, linear, linears } from './nn/linear.ts';
import { longestWithin, positionsOf, segmentsOf } from './nn/packed-batch.ts';
import type { Layers, TableWeight } from './nn/weight-stream.ts';

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
  readonly embedTokens: TableWeight;
  /** `[maxPositionEmbeddings, D]`. */
  readonly embedPositions: Tensor;
  /** `[typeVocabSize, D]`. */
  readonly embedTokenTypes: Tensor;
  readonly embeddingNorm: Tensor;
  readonly embeddingNormBias: Tensor;
  readonly layers: Layers<BertLayerParams>;
}

/**
 * A frozen BERT on one backend: an encoder, whose tokens see their whole sequence. It has no head
 * for words, so it generates nothing, and no cache.
 */
export class Bert extends FrozenModel<BertConfig, BertParams, Tensor, BertLayerParams> {
  readonly family = 'encoder';

  override forward(batch: PackedBatch, tap?: LayerTap): Tensor {
    if (batch.past) throw this.noDecoder('a past');
    return super.forward(batch, tap);
  }

  /** @throws UsageError always: an encoder has no output head */
  logits(): Tensor {
    throw this.noDecoder('logits');
  }

  /** @throws UsageError always: an encoder's tokens see what follows, so nothing can be kept */
  newCache(): KvCache {
    throw this.noDecoder('a cache');
  }

  /** First row and length of every sequence, i32 `[S, 2]`. */
  protected layout({ lengths }: PackedBatch): Tensor {
    longestWithin(this.config.maxPositionEmbeddings, lengths);
    return segmentsOf(lengths, this.backend);
  }

  /** Words, positions and token types, added and normed: `[T, D]`. */
  protected embed({ ids, lengths, tokenTypes }: PackedBatch): Tensor {
    const { embedTokens, embedPositions, embedTokenTypes } = this.params;
    const { backend } = this;
    if (tokenTypes && tokenTypes.length !== ids.length) {
      throw new ShapeError(`bert: ${tokenTypes.length} token types for ${ids.length} tokens`);
    }
    const kinds = tensor(tokenTypes ?? new Int32Array(ids.length), [ids.length], { backend });
    const words = embedding(embedTokens, ids, backend);
    const types = gatherRows(embedTokenTypes, kinds);
    const places = gatherRows(embedPositions, positionsOf(lengths, 0, backend));
    const sum = add(add(words, types), places);
    return this.norm(sum, this.params.embeddingNorm, this.params.embeddingNormBias);
  }

  /** Attention block, then MLP block; each is added to its input `[T, D]`, and the sum normed. */
  protected layer(p: BertLayerParams, x: Tensor, segments: Tensor): Tensor {
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

  private norm(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
    return layerNorm(x, weight, bias, this.config.layerNormEps);
  }

  private noDecoder(what: string): UsageError {
    return new UsageError(
      `${this.config.modelType}: an encoder has no ${what.replace(/^a /, '')}: it reads whole texts and generates none`,
    );
  }
}
