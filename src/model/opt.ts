import {
  add,
  gatherRows,
  layerNorm,
  reshape,
  scope,
  type Tensor,
  tensor,
} from '../tensor/index.ts';
import type { PackedBatch } from './backbone.ts';
import { ACTIVATIONS, type ActivationName } from './nn/activation.ts';
import { Decoder, type DecoderConfig, type DecoderLayout } from './nn/decoder.ts';
import { embedding } from './nn/embedding.ts';
import { type LinearWeight, linear, linears } from './nn/linear.ts';
import type { OutputHead } from './nn/output-head.ts';
import type { Layers, TableWeight } from './nn/weight-stream.ts';

/** Rows of the position table before that of position 0: left over from a padding token's. */
export const OPT_POSITION_OFFSET = 2;

/** OPT (Zhang et al. 2022): learned positions, layer norms before each block, ReLU. */
export interface OptConfig extends DecoderConfig {
  readonly intermediateSize: number;
  readonly layerNormEps: number;
  readonly activation: ActivationName;
  readonly tieWordEmbeddings: boolean;
}

/** One layer's weights; matrices `[out, in]`, norms and biases a vector. */
export interface OptLayerParams {
  readonly attentionNorm: Tensor;
  readonly attentionNormBias: Tensor;
  readonly qProj: LinearWeight;
  readonly qProjBias: Tensor;
  readonly kProj: LinearWeight;
  readonly kProjBias: Tensor;
  readonly vProj: LinearWeight;
  readonly vProjBias: Tensor;
  readonly oProj: LinearWeight;
  readonly oProjBias: Tensor;
  readonly mlpNorm: Tensor;
  readonly mlpNormBias: Tensor;
  readonly upProj: LinearWeight;
  readonly upProjBias: Tensor;
  readonly downProj: LinearWeight;
  readonly downProjBias: Tensor;
}

/** An OPT's weights; matrices of layers and words in f32 or packed, the rest in f32. */
export interface OptParams {
  /** `[V, D]`. */
  readonly embedTokens: TableWeight;
  /** `[OPT_POSITION_OFFSET + maxPositionEmbeddings, D]`. */
  readonly embedPositions: Tensor;
  readonly layers: Layers<OptLayerParams>;
  readonly norm: Tensor;
  readonly normBias: Tensor;
  /** `[V, D]`; left out when tied to `embedTokens`. */
  readonly lmHead?: TableWeight;
}

/** A frozen OPT on one backend. */
export class Opt extends Decoder<OptConfig, OptParams, OptLayerParams> {
  protected embed({ ids }: PackedBatch, { positions }: DecoderLayout): Tensor {
    const { embedTokens, embedPositions } = this.params;
    const rows = Int32Array.from(positions.toArray(), (t) => t + OPT_POSITION_OFFSET);
    const index = tensor(rows, positions.shape, { backend: this.backend });
    return add(embedding(embedTokens, ids, this.backend), gatherRows(embedPositions, index));
  }

  /** Attention block, then MLP block, each added to the residual stream `x` `[T, D]`. */
  protected layer(p: OptLayerParams, x: Tensor, layout: DecoderLayout, index: number): Tensor {
    const { numAttentionHeads, headDim, activation } = this.config;
    const attended = scope(() => {
      const [q, k, v] = linears(
        this.norm(x, p.attentionNorm, p.attentionNormBias),
        [p.qProj, p.kProj, p.vProj],
        [p.qProjBias, p.kProjBias, p.vProjBias],
      ).map((y) => reshape(y, [y.shape[0], numAttentionHeads, headDim]));
      const out = this.attend(index, { q, k, v }, layout);
      return linear(out, p.oProj, { bias: p.oProjBias, residual: x });
    });
    const normed = this.norm(attended, p.mlpNorm, p.mlpNormBias);
    const inner = ACTIVATIONS[activation](linear(normed, p.upProj, { bias: p.upProjBias }));
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
}
