import { ShapeError } from '../tensor/errors.ts';
import { formatShape } from '../tensor/shape.ts';
import { expectDType, Tensor } from '../tensor/tensor.ts';
import { quantOf } from './runtime.ts';
import { BLOCK, MAX_INNER, type QuantizedRows, roundUp } from './types.ts';

/**
 * Quantizes x [R,K] to int8, one scale a row or, with `groupSize` (a multiple of 32), one a group
 * of K: scale = absmax / 127, rounded to nearest, ties to even, so |x - scale q| <= scale / 2.
 * Do it once per input of a layer and share it between q, k and v. A row (group) of zeros has
 * scale 0; one that holds an infinity or NaN makes the outputs NaN.
 * @throws ShapeError unless rank 2, for a bad group size or K above 131,072; DTypeError unless f32
 */
export function quantizeRows(x: Tensor, options: { groupSize?: number } = {}): QuantizedRows {
  expectDType('quantizeRows', 'f32', x);
  if (x.rank !== 2 || x.shape[1] < 1 || x.shape[1] > MAX_INNER) {
    throw new ShapeError(
      `quantizeRows: takes [R,K], K 1..${MAX_INNER}, got ${formatShape(x.shape)}`,
    );
  }
  const [rows, inner] = x.shape;
  const kp = roundUp(inner, BLOCK);
  const groupSize = options.groupSize ?? inner;
  const whole = groupSize >= inner;
  if (!whole && (groupSize < BLOCK || groupSize % BLOCK !== 0)) {
    throw new ShapeError(`quantizeRows: group size ${groupSize} is no multiple of ${BLOCK}`);
  }
  const step = whole ? kp : groupSize;
  const { kernels } = quantOf(x.backend);
  const data = Tensor.empty([rows, kp], 'i8', x.backend);
  const scales = Tensor.empty([rows, Math.ceil(kp / step)], 'f32', x.backend);
  const sums = Tensor.empty([rows, kp / BLOCK], 'i32', x.backend);
  if (rows > 0) {
    kernels.quantizeRowsQd8(
      data.handle,
      scales.handle,
      sums.handle,
      x.handle,
      rows,
      inner,
      kp,
      step,
    );
  }
  return { kind: 'quantizedRows', rows, inner, groupSize: step, data, scales, sums };
}

/** The rows as f32 [R,K] on the host: `scale * q`; for tests and figures. */
export function dequantizeRows(x: QuantizedRows): Float32Array {
  const data = x.data.toArray();
  const scales = x.scales.toFloat32();
  const [, groups] = x.scales.shape;
  const [, kp] = x.data.shape;
  const out = new Float32Array(x.rows * x.inner);
  for (let row = 0; row < x.rows; row++) {
    for (let i = 0; i < x.inner; i++) {
      const scale = scales[row * groups + Math.floor(i / x.groupSize)];
      out[row * x.inner + i] = scale * data[row * kp + i];
    }
  }
  return out;
}
