import {
  add,
  affine,
  type Backend,
  concatMatmul,
  matmul,
  reshape,
  type Tensor,
  zeros,
} from '../../tensor/index.ts';
import type { SideShape } from './side-model.ts';

/** Linear classifier over what a sample's K rows hold side by side, of M states. */
export interface HeadParams {
  /** `[C, M*K*D]`. */
  readonly weight: Tensor;
  /** `[C]`. */
  readonly bias: Tensor;
}

/** All zero: of the solutions that fit few rows, training then finds one of small norm. */
export function initHead(shape: SideShape, backend: Backend, states = 1): HeadParams {
  return {
    weight: zeros([shape.classes, states * shape.kinds * shape.width], backend),
    bias: zeros([shape.classes], backend),
  };
}

/**
 * `sum_m z_m W_m^T / sqrt(M) + b`: M states z_m `[B*K, D]` to logits `[B, C]`. The root keeps a
 * step of the optimizer as large a step of the logits, however many states there are.
 */
export function headLogits(
  params: HeadParams,
  states: readonly Tensor[],
  shape: SideShape,
): Tensor {
  const samples = states[0].shape[0] / shape.kinds;
  const rows = states.map((z) => reshape(z, [samples, shape.kinds * shape.width]));
  if (rows.length === 1) return add(matmul(rows[0], params.weight, { transB: true }), params.bias);
  const sum = concatMatmul(rows, params.weight);
  return add(affine(sum, 1 / Math.sqrt(rows.length)), params.bias);
}
