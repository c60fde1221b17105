import { add, type Backend, matmul, reshape, type Tensor, zeros } from '../../tensor/index.ts';
import type { SideShape } from './side-model.ts';

/** Linear classifier over a sample's K rows side by side. */
export interface HeadParams {
  /** `[C, K*D]`. */
  readonly weight: Tensor;
  /** `[C]`. */
  readonly bias: Tensor;
}

/** All zero: of the solutions that fit few rows, training then finds one of small norm. */
export function initHead(shape: SideShape, backend: Backend): HeadParams {
  return {
    weight: zeros([shape.classes, shape.kinds * shape.width], backend),
    bias: zeros([shape.classes], backend),
  };
}

/** `z W^T + b`: z `[B*K, D]` to logits `[B, C]`. */
export function headLogits(params: HeadParams, z: Tensor, shape: SideShape): Tensor {
  const samples = z.shape[0] / shape.kinds;
  const features = reshape(z, [samples, shape.kinds * shape.width]);
  return add(matmul(features, params.weight, { transB: true }), params.bias);
}
