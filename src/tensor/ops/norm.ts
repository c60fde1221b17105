import { isTracked, record } from '../autograd.ts';
import { ShapeError } from '../errors.ts';
import { formatShape } from '../shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor.ts';
import { binary, reduceTo } from './launch.ts';

/** Rows and width of a tensor seen as rows over its last axis. */
function rowsOf(operation: string, x: Tensor): { rows: number; d: number } {
  const d = x.shape.at(-1);
  if (d === undefined) throw new ShapeError(`${operation}: a scalar has no last axis`);
  return { rows: d === 0 ? 0 : x.numel / d, d };
}

/**
 * Root-mean-square norm over the last axis D: `x / sqrt(mean(x^2) + eps) * weight`, weight `[D]`
 * or null (Zhang & Sennrich 2019, equation 4).
 * @throws ShapeError when weight is not `[D]`
 */
export function rmsNorm(x: Tensor, weight: Tensor | null, eps: number): Tensor {
  const operands = weight ? [x, weight] : [x];
  expectDType('rmsNorm', 'f32', ...operands);
  const { kernels, nil } = commonBackend('rmsNorm', ...operands);
  const { rows, d } = rowsOf('rmsNorm', x);
  if (weight && (weight.rank !== 1 || weight.numel !== d)) {
    throw new ShapeError(
      `rmsNorm: weight ${formatShape(weight.shape)} does not fit rows of ${formatShape(x.shape)}`,
    );
  }
  const out = Tensor.empty(x.shape, 'f32', x.backend);
  const rstd = Tensor.empty([...x.shape.slice(0, -1), 1], 'f32', x.backend);
  const weightHandle = weight ? weight.handle : nil;
  kernels.rmsNorm(out.handle, rstd.handle, x.handle, weightHandle, rows, d, eps);
  if (!isTracked(...operands)) {
    rstd.dispose();
    return out;
  }
  return record(out, operands, (dy) => {
    const dx = Tensor.empty(x.shape, 'f32', x.backend);
    const w = weight ? weight.handle : nil;
    kernels.rmsNormGrad(dx.handle, x.handle, rstd.handle, w, dy.handle, rows, d);
    if (!weight) return [dx];
    const dWeightRows = binary('mul', binary('mul', x, rstd), dy);
    return [dx, reduceTo('rmsNorm', dWeightRows, weight.shape)];
  });
}

/**
 * Layer norm over the last axis D: `(x - mean) / sqrt(variance + eps) * weight + bias`, the
 * variance divided by D; weight and bias `[D]` or null (Ba et al. 2016, equation 4).
 * @throws ShapeError when weight or bias is not `[D]`
 */
export function layerNorm(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
): Tensor {
  const operands = [x, weight, bias].filter((operand) => operand !== null);
  expectDType('layerNorm', 'f32', ...operands);
  const { kernels, nil } = commonBackend('layerNorm', ...operands);
  const { rows, d } = rowsOf('layerNorm', x);
  for (const [name, operand] of Object.entries({ weight, bias })) {
    if (operand && (operand.rank !== 1 || operand.numel !== d)) {
      throw new ShapeError(
        `layerNorm: ${name} ${formatShape(operand.shape)} does not fit rows of ${formatShape(x.shape)}`,
      );
    }
  }
  const out = Tensor.empty(x.shape, 'f32', x.backend);
  const perRow = [...x.shape.slice(0, -1), 1];
  const mean = Tensor.empty(perRow, 'f32', x.backend);
  const rstd = Tensor.empty(perRow, 'f32', x.backend);
  const handleOf = (operand: Tensor | null) => (operand ? operand.handle : nil);
  kernels.layerNorm(
    ...[out.handle, mean.handle, rstd.handle, x.handle, handleOf(weight), handleOf(bias)],
    ...([rows, d, eps] as const),
  );
  if (!isTracked(...operands)) {
    mean.dispose();
    rstd.dispose();
    return out;
  }
  return record(out, operands, (dy) => {
    const dx = Tensor.empty(x.shape, 'f32', x.backend);
    kernels.layerNormGrad(
      ...[dx.handle, x.handle, mean.handle, rstd.handle, handleOf(weight), dy.handle],
      ...([rows, d] as const),
    );
    const grads = [dx];
    if (weight) {
      const normed = binary('mul', binary('sub', x, mean), rstd);
      grads.push(reduceTo('layerNorm', binary('mul', normed, dy), weight.shape));
    }
    if (bias) grads.push(reduceTo('layerNorm', dy, bias.shape));
    return grads;
  });
}

/** `exp(x) / sum(exp(x))` over the last axis. @throws ShapeError for a scalar */
export function softmax(x: Tensor): Tensor {
  return overRows('softmax', 'softmaxGrad', x);
}

/** `x - log(sum(exp(x)))` over the last axis. @throws ShapeError for a scalar */
export function logSoftmax(x: Tensor): Tensor {
  return overRows('logSoftmax', 'logSoftmaxGrad', x);
}

function overRows(
  name: 'softmax' | 'logSoftmax',
  gradName: 'softmaxGrad' | 'logSoftmaxGrad',
  x: Tensor,
): Tensor {
  expectDType(name, 'f32', x);
  const { kernels } = x.backend;
  const { rows, d } = rowsOf(name, x);
  const y = Tensor.empty(x.shape, 'f32', x.backend);
  kernels[name](y.handle, x.handle, rows, d);
  return record(y, [x], (dy) => {
    const dx = Tensor.empty(x.shape, 'f32', x.backend);
    kernels[gradName](dx.handle, y.handle, dy.handle, rows, d);
    return [dx];
  });
}
