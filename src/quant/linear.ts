import { BackendError, ShapeError } from '../tensor/errors.ts';
import { formatShape } from '../tensor/shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor/tensor.ts';
import { expectPacked } from './packed-linear.ts';
import { SUPER_BLOCK } from './qb4w-scales.ts';
import { quantOf } from './runtime.ts';
import type { QuantizedLinear, QuantizedRows } from './types.ts';

/**
 * x W^T + bias + residual: rows [R,K] by a packed matrix [N,K] to f32 [R,N]. Integer sums, then f32
 * in a fixed order, so that every backend and variant gives the same bits. Not differentiable: the
 * frozen backbone alone runs here.
 * @throws ShapeError when inner lengths or group sizes do not fit; BackendError for mixed backends
 */
export function linearQuantized(
  x: QuantizedRows,
  w: QuantizedLinear,
  options: { bias?: Tensor; residual?: Tensor } = {},
): Tensor {
  const weight = expectPacked('linearQuantized', w);
  const { bias, residual } = options;
  const { rows } = x;
  const n = weight.outFeatures;
  if (x.inner !== weight.inFeatures) {
    throw new ShapeError(
      `linearQuantized: inner lengths differ, rows [${rows},${x.inner}], weight [${n},${weight.inFeatures}]`,
    );
  }
  // Inputs that the kernel adds up as integers, where a row's scales allow it.
  const whole = weight.format === 'qc8w' ? weight.groupSize : SUPER_BLOCK;
  const [fine, coarse] = x.groupSize < whole ? [x.groupSize, whole] : [whole, x.groupSize];
  const several = (weight.format === 'qc8w' ? coarse : x.groupSize) < weight.paddedInner;
  if (several && coarse % fine !== 0) {
    throw new ShapeError(
      `linearQuantized: group sizes do not nest, rows ${x.groupSize}, weight ${whole}`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.numel !== n)) {
    throw new ShapeError(`linearQuantized: bias ${formatShape(bias.shape)}, columns ${n}`);
  }
  if (residual && (residual.rank !== 2 || residual.shape[0] !== rows || residual.shape[1] !== n)) {
    throw new ShapeError(
      `linearQuantized: residual ${formatShape(residual.shape)}, output [${rows},${n}]`,
    );
  }
  const backend = commonBackend('linearQuantized', x.data, weight.packed);
  for (const extra of [bias, residual]) {
    if (!extra) continue;
    expectDType('linearQuantized', 'f32', extra);
    commonBackend('linearQuantized', x.data, extra);
  }
  const { kernels, scratchBytes } = quantOf(backend);
  const out = Tensor.empty([rows, n], 'f32', backend);
  if (rows === 0) return out;
  const kp = weight.paddedInner;
  const bytes = scratchBytes(rows, kp);
  const scratch = bytes > 0 ? Tensor.empty([bytes], 'u8', backend) : undefined;
  const gemm = weight.format === 'qc8w' ? kernels.gemmQd8F32Qc8w : kernels.gemmQd8F32Qb4w;
  gemm(
    out.handle,
    x.data.handle,
    x.scales.handle,
    x.sums.handle,
    weight.packed.handle,
    weight.scales.handle,
    bias?.handle ?? backend.nil,
    residual?.handle ?? backend.nil,
    scratch?.handle ?? backend.nil,
    rows,
    n,
    kp,
    x.groupSize,
    weight.groupSize,
  );
  scratch?.dispose();
  return out;
}

/**
 * Rows `ids` of a packed matrix [N,K] as f32 [R,K], R ids: the embedding lookup out of the matrix
 * that a tied LM head multiplies by.
 * @throws ShapeError for an id outside 0..N-1; DTypeError unless ids are i32
 */
export function gatherQuantizedRows(w: QuantizedLinear, ids: Tensor): Tensor {
  const weight = expectPacked('gatherQuantizedRows', w);
  expectDType('gatherQuantizedRows', 'i32', ids);
  const backend = ids.backend;
  if (backend !== weight.backend) {
    throw new BackendError(
      `gatherQuantizedRows: ids on ${backend.name}, weight on ${weight.backend.name}`,
    );
  }
  for (const id of ids.toArray()) {
    if (id < 0 || id >= weight.outFeatures) {
      throw new ShapeError(`gatherQuantizedRows: id ${id} outside 0..${weight.outFeatures - 1}`);
    }
  }
  const { kernels } = quantOf(backend);
  const out = Tensor.empty([ids.numel, weight.inFeatures], 'f32', backend);
  const gather = weight.format === 'qc8w' ? kernels.gatherRowsQc8w : kernels.gatherRowsQb4w;
  gather(
    out.handle,
    weight.packed.handle,
    weight.scales.handle,
    ids.handle,
    ids.numel,
    weight.inFeatures,
    weight.paddedInner,
    weight.groupSize,
  );
  return out;
}
