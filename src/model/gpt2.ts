import { add, gatherRows, layerNorm, reshape, scope, slice, type Tensor } from '../tensor/index.ts';
import type { PackedBatch } from './backbone.ts';
import { ACTIVATIONS, type ActivationName } from './nn/activation.ts';
import { Decoder, type DecoderConfig, type DecoderLayout } from './nn/decoder.ts';
import { embedding } from './nn/embedding.ts';
import { type LinearWeight, linear } from './nn/linear.ts';
import type { OutputHead } from './nn/output-head.ts';
import type { Layers, TableWeight } from './nn/weight-stream.ts';

/** GPT-2 (Radford et al. 2019): learned positions, layer norms before each block, GELU. */
export interface Gpt2Config extends DecoderConfig {
  readonly intermediateSize: number;
  readonly layerNormEps: number;
  readonly activation: ActivationName;
  readonly tieWordEmbeddings: boolean;
}

/** One layer's weights; matrices `[out, in]`, norms and biases a vector. */
export interface Gpt2LayerParams {
  readonly attentionNorm: Tensor;
  readonly attentionNormBias: Tensor;
  /** Queries, keys and values below each other, `[3D, D]`. */
  readonly qkvProj: LinearWeight;
  readonly qkvProjBias: Tensor;
  readonly oProj: LinearWeight;
  readonly oProjBias: Tensor;
  readonly mlpNorm: Tensor;
  readonly mlpNormBias: Tensor;
  readonly upProj: LinearWeight;
  readonly upProjBias: Tensor;
  readonly downProj: LinearWeight;
  readonly downProjBias: Tensor;
}

/** A GPT-2's weights; matrices of layers and words in f32 or packed, the rest in f32. */
export interface Gpt2Params {
  /** `[V, D]`. */
  readonly embedTokens: TableWeight;
  /** `[maxPositionEmbeddings, D]`. */
  readonly embedPositions: Tensor;
  readonly layers: Layers<Gpt2LayerParams>;
  readonly norm: Tensor;
  readonly normBias: Tensor;
  /** `[V, D]`; left out when tied to `embedTokens`. */
  readonly lmHead?: TableWeight;
}

/** A frozen GPT-2 on one backend. */
export class Gpt2 extends Decoder<Gpt2Config, Gpt2Params, Gpt2LayerParams> {
  protected embed({ ids }: PackedBatch, { positions }: DecoderLayout): Tensor {
    const { embedTokens, embedPositions } = this.params;
    return add(embedding(embedTokens, ids, this.backend), gatherRows(embedPositions, positions));
  }

  /** Attention block, then MLP block, each added to the residual stream `x` `[T, D]`. */
  protected layer(p: Gpt2LayerParams, x: Tensor, layout: DecoderLayout, index: number): Tensor {
    const attended = scope(() => {
      const normed = this.norm(x, p.attentionNorm, p.attentionNormBias);
      const qkv = linear(normed, p.qkvProj, { bias: p.qkvProjBias });
      const [q, k, v] = [0, 1, 2].map((part) => this.heads(qkv, part));
      const out = this.attend(index, { q, k, v }, layout);
      return linear(out, p.oProj, { bias: p.oProjBias, residual: x });
    });
    const normed = this.norm(attended, p.mlpNorm, p.mlpNormBias);
    const inner = ACTIVATIONS[this.config.activation](
      linear(normed, p.upProj, { bias: p.upProjBias }),
    );
    return linear(inner, p.downProj, { bias: p.downProjBias, residual: attended });
  }

  get outputHead(): OutputHead {
    const { norm: weight, normBias: bias, lmHead, embedTokens } = this.params;
    return {
      norm: { kind: 'layer', eps: this.config.layerNormEps, weight, bias },
      matrix: lmHead ?? embedTokens,
    };
  }

  private norm(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
    return layerNorm(x, weight, bias, this.config.layerNormEps);
  }

  /** Third `part` of `[T, 3D]` as heads `[T, H, headDim]`. */
  private heads(qkv: Tensor, part: number): Tensor {
    const { hiddenSize, numAttentionHeads, headDim } = this.config;
    const columns = slice(qkv, 1, part * hiddenSize, (part + 1) * hiddenSize);
    return reshape(columns, [qkv.shape[0], numAttentionHeads, headDim]);
  }
}
