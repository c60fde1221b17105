import type { Tensor } from '../tensor/index.ts';
import { type Heads, Llama, type LlamaLayerParams } from './llama.ts';
import { linears } from './nn/linear.ts';

/** One layer's weights: Llama's, and a bias for each of queries, keys and values. */
export interface Qwen2LayerParams extends LlamaLayerParams {
  readonly qProjBias: Tensor;
  readonly kProjBias: Tensor;
  readonly vProjBias: Tensor;
}

/** A frozen Qwen2 (Yang et al. 2024) on one backend: Llama with biases on queries, keys, values. */
export class Qwen2 extends Llama<Qwen2LayerParams> {
  protected override project(p: Qwen2LayerParams, x: Tensor): Heads {
    const weights = [p.qProj, p.kProj, p.vProj];
    return this.splitHeads(linears(x, weights, [p.qProjBias, p.kProjBias, p.vProjBias]));
  }
}
