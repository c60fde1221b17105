import { rmsNorm, type Tensor } from '../tensor/index.ts';
import { type Heads, Llama, type LlamaLayerParams } from './llama.ts';

/** One layer's weights: Llama's, and a norm `[headDim]` of every query and key head. */
export interface Qwen3LayerParams extends LlamaLayerParams {
  readonly qNorm: Tensor;
  readonly kNorm: Tensor;
}

/**
 * A frozen Qwen3 (Yang et al. 2025) on one backend: Llama whose query and key heads are normed
 * before they are turned.
 */
export class Qwen3 extends Llama<Qwen3LayerParams> {
  protected override project(p: Qwen3LayerParams, x: Tensor): Heads {
    const { q, k, v } = super.project(p, x);
    const { rmsNormEps } = this.config;
    return { q: rmsNorm(q, p.qNorm, rmsNormEps), k: rmsNorm(k, p.kNorm, rmsNormEps), v };
  }
}
