import { layerNorm, rmsNorm, type Tensor } from '../../tensor/index.ts';
import type { TableWeight } from './weight-stream.ts';

/** The final norm of a decoder, which sees the last layer's hidden states `[R, D]`. */
export interface FinalNorm {
  /** RMS norm (Zhang & Sennrich 2019), or layer norm (Ba et al. 2016), which has a bias. */
  readonly kind: 'rms' | 'layer';
  readonly eps: number;
  /** `[D]`. */
  readonly weight: Tensor;
  /** `[D]`; of a layer norm. */
  readonly bias?: Tensor;
}

/** What makes logits of a decoder's hidden states: the final norm, then a matrix. */
export interface OutputHead {
  readonly norm: FinalNorm;
  /** `[V, D]`; where tied, the embedding. */
  readonly matrix: TableWeight;
}

/** Rows `[R, D]` after the final norm. */
export function finalNorm({ kind, eps, weight, bias }: FinalNorm, x: Tensor): Tensor {
  return kind === 'rms' ? rmsNorm(x, weight, eps) : layerNorm(x, weight, bias as Tensor, eps);
}
