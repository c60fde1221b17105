import {
  add,
  type Backend,
  matmul,
  type Random,
  randomUniform,
  reshape,
  type Tensor,
  zeros,
} from '../../tensor/index.ts';
import type { SideShape } from './side-model.ts';

/** Linear classifier over a sample's K rows side by side. */
export interface HeadParams {
  /** `[C, K*D]`. */
  readonly weight: Tensor;
  /** `[C]`. */
  readonly bias: Tensor;
}

/** Uniform in +-1/sqrt(K*D), PyTorch's default for a linear layer; bias 0. */
export function initHead(shape: SideShape, rng: Random, backend: Backend): HeadParams {
  const inputs = shape.kinds * shape.width;
  const bound = 1 / Math.sqrt(inputs);
  return {
    weight: randomUniform([shape.classes, inputs], -bound, bound, rng, backend),
    bias: zeros([shape.classes], backend),
  };
}

/** `z W^T + b`: z `[B*K, D]` to logits `[B, C]`. */
export function headLogits(params: HeadParams, z: Tensor, shape: SideShape): Tensor {
  const samples = z.shape[0] / shape.kinds;
  const features = reshape(z, [samples, shape.kinds * shape.width]);
  return add(matmul(features, params.weight, { transB: true }), params.bias);
}
