import {
  type Backend,
  FormatError,
  reshape,
  rmsNorm,
  scope,
  siluMul,
  type Tensor,
} from '../tensor/index.ts';
import type { PackedBatch, WeightPrecision } from './backbone.ts';
import { Decoder, type DecoderConfig, type DecoderLayout } from './nn/decoder.ts';
import { embedding } from './nn/embedding.ts';
import { type LinearWeight, linear, linears } from './nn/linear.ts';
import type { OutputHead } from './nn/output-head.ts';
import { type Llama3RopeScaling, Rotary, rotaryFrequencies, scaleLlama3 } from './nn/rotary.ts';
import type { Layers, TableWeight } from './nn/weight-stream.ts';

/** Llama (Touvron et al. 2023): RMS norms, rotary positions, grouped-query attention, SwiGLU. */
export interface LlamaConfig extends DecoderConfig {
  readonly intermediateSize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** Left out for plain frequencies; `factors`: a divisor of each lies among the weights. */
  readonly ropeScaling?: Llama3RopeScaling | { readonly type: 'factors' };
  readonly tieWordEmbeddings: boolean;
}

/** One layer's weights; matrices `[out, in]`, norms `[D]`. */
export interface LlamaLayerParams {
  readonly inputLayernorm: Tensor;
  readonly qProj: LinearWeight;
  readonly kProj: LinearWeight;
  readonly vProj: LinearWeight;
  readonly oProj: LinearWeight;
  readonly postAttentionLayernorm: Tensor;
  readonly gateProj: LinearWeight;
  readonly upProj: LinearWeight;
  readonly downProj: LinearWeight;
}

/** A Llama's weights, each matrix in f32 or packed. */
export interface LlamaParams<Layer extends LlamaLayerParams = LlamaLayerParams> {
  /** `[V, D]`. */
  readonly embedTokens: TableWeight;
  readonly layers: Layers<Layer>;
  readonly norm: Tensor;
  /** `[V, D]`; left out when tied to `embedTokens`. */
  readonly lmHead?: TableWeight;
  /** `[headDim/2]`, what frequencies are divided by; only where `ropeScaling` says so. */
  readonly ropeFactors?: Tensor;
}

/** A layer's queries `[T, H, headDim]`, keys and values `[T, kvHeads, headDim]`, not yet turned. */
export interface Heads {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** A frozen Llama on one backend. */
export class Llama<Layer extends LlamaLayerParams = LlamaLayerParams> extends Decoder<
  LlamaConfig,
  LlamaParams<Layer>,
  Layer
> {
  private readonly rotary: Rotary;

  /** @throws FormatError (E_MODEL) for divisors of frequencies that are none; the weights are given back */
  constructor(
    config: LlamaConfig,
    params: LlamaParams<Layer>,
    precision: WeightPrecision,
    backend: Backend,
  ) {
    super(config, params, precision, backend);
    try {
      this.rotary = new Rotary(frequencies(config, params), config.maxPositionEmbeddings, backend);
    } catch (error) {
      super.dispose();
      throw error;
    }
  }

  override dispose(): void {
    super.dispose();
    this.rotary.dispose();
  }

  protected override layout(batch: PackedBatch): DecoderLayout {
    const layout = super.layout(batch);
    this.rotary.reach(layout.longest);
    return layout;
  }

  protected embed({ ids }: PackedBatch): Tensor {
    return embedding(this.params.embedTokens, ids, this.backend);
  }

  /** Attention block, then MLP block, each added to the residual stream `x` `[T, D]`. */
  protected layer(p: Layer, x: Tensor, layout: DecoderLayout, index: number): Tensor {
    const { rmsNormEps } = this.config;
    const attended = scope(() => {
      const { q, k, v } = this.project(p, rmsNorm(x, p.inputLayernorm, rmsNormEps));
      const turn = (heads: Tensor) => this.rotary.turn(heads, layout.positions);
      const out = this.attend(index, { q: turn(q), k: turn(k), v }, layout);
      return linear(out, p.oProj, { residual: x });
    });
    const normed = rmsNorm(attended, p.postAttentionLayernorm, rmsNormEps);
    const [gate, up] = linears(normed, [p.gateProj, p.upProj]);
    return linear(siluMul(gate, up), p.downProj, { residual: attended });
  }

  /** Normed rows `[T, D]` to heads. */
  protected project(p: Layer, x: Tensor): Heads {
    return this.splitHeads(linears(x, [p.qProj, p.kProj, p.vProj]));
  }

  /** `[T, heads * headDim]` of queries, keys and values as heads. */
  protected splitHeads([q, k, v]: readonly Tensor[]): Heads {
    const { headDim } = this.config;
    const split = (y: Tensor) => reshape(y, [y.shape[0], y.shape[1] / headDim, headDim]);
    return { q: split(q), k: split(k), v: split(v) };
  }

  get outputHead(): OutputHead {
    const { norm: weight, lmHead, embedTokens } = this.params;
    return {
      norm: { kind: 'rms', eps: this.config.rmsNormEps, weight },
      matrix: lmHead ?? embedTokens,
    };
  }
}

/** Rotary frequencies `[headDim/2]`, scaled as the configuration says. */
function frequencies(config: LlamaConfig, { ropeFactors }: LlamaParams): Float64Array {
  const plain = rotaryFrequencies(config.headDim, config.ropeTheta);
  if (config.ropeScaling?.type === 'llama3') return scaleLlama3(plain, config.ropeScaling);
  const factors = ropeFactors?.toFloat32();
  const bad = factors?.find((factor) => !(factor > 0 && factor < Number.POSITIVE_INFINITY));
  if (bad !== undefined) {
    throw new FormatError(
      `${config.modelType}: a rotary frequency is divided by ${bad}`,
      'E_MODEL',
    );
  }
  return factors ? plain.map((frequency, j) => frequency / factors[j]) : plain;
}
