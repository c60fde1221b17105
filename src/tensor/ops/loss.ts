import { isTracked, record } from '../autograd.ts';
import { ShapeError } from '../errors.ts';
import { scope } from '../scope.ts';
import { formatShape } from '../shape.ts';
import { commonBackend, expectDType, Tensor, tensor } from '../tensor.ts';
import { affine, mul, sub } from './elementwise.ts';
import { expand, expectIndices, expectRank, scaled } from './launch.ts';
import { logSoftmax } from './norm.ts';
import { mean, sum } from './reduce.ts';

/** A target with this value takes no part in the loss (PyTorch's convention). */
export const IGNORED_TARGET = -100;

/** How the losses of rows become one: their mean over rows that count, their sum, or not at all. */
export interface CrossEntropyOptions {
  readonly reduction?: 'mean' | 'sum' | 'none';
  /** Share e of the target that is spread evenly over all classes, 0 to 1; 0 by default. */
  readonly labelSmoothing?: number;
}

/**
 * Cross-entropy of logits `[R, C]` against class numbers i32 `[R]`:
 * `loss[r] = logsumexp(logits[r]) - logits[r, target]`; rows with target -100 are ignored. `mean`
 * (the default) is over the rows that count, and 0 where none does. Shape `[]`, or `[R]` for
 * `none`. With `labelSmoothing` e (Szegedy et al. 2016, section 7) the target of a row is
 * `(1 - e) onehot + e / C`.
 * @throws ShapeError when shapes do not fit, or a target is no class
 */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  expectDType('crossEntropy', 'f32', logits);
  const backend = commonBackend('crossEntropy', logits, targets);
  const { kernels } = backend;
  expectRank('crossEntropy', logits, 2, 'logits');
  const [rows, classes] = logits.shape;
  if (targets.rank !== 1 || targets.numel !== rows) {
    throw new ShapeError(
      `crossEntropy: logits ${formatShape(logits.shape)}, targets ${formatShape(targets.shape)}`,
    );
  }
  const values = expectIndices('crossEntropy', targets, classes, 'target', IGNORED_TARGET);
  const { reduction = 'mean', labelSmoothing = 0 } = options;
  const counted = values.reduce((n, target) => n + (target === IGNORED_TARGET ? 0 : 1), 0);
  const factor = reduction === 'mean' ? 1 / Math.max(counted, 1) : 1;

  if (labelSmoothing > 0) {
    return scope(() => {
      const counts = Float32Array.from(values, (target) => (target === IGNORED_TARGET ? 0 : 1));
      const hard = crossEntropy(logits, targets, { reduction: 'none' });
      const even = mul(mean(logSoftmax(logits), 1), tensor(counts, [rows], { backend }));
      const mixed = sub(affine(hard, 1 - labelSmoothing), affine(even, labelSmoothing));
      return reduction === 'none' ? mixed : affine(sum(mixed), factor);
    });
  }

  const logProbs = Tensor.empty(logits.shape, 'f32', backend);
  kernels.logSoftmax(logProbs.handle, logits.handle, rows, classes);
  const lossRows = Tensor.empty([rows], 'f32', backend);
  kernels.nllLoss(lossRows.handle, logProbs.handle, targets.handle, rows, classes);
  const out = reduction === 'none' ? lossRows : total(lossRows, factor);
  if (out !== lossRows) lossRows.dispose();
  if (!isTracked(logits)) {
    logProbs.dispose();
    return out;
  }
  return record(out, [logits], (dy) => {
    const dRows = reduction === 'none' ? dy : expand('crossEntropy', scaled(dy, factor), [rows]);
    const dLogits = Tensor.empty(logits.shape, 'f32', backend);
    const { handle } = dLogits;
    kernels.crossEntropyGrad(handle, logProbs.handle, targets.handle, dRows.handle, rows, classes);
    return [dLogits];
  });
}

/** `factor * sum(x)`, shape `[]`. */
function total(x: Tensor, factor: number): Tensor {
  const sum = Tensor.empty([], 'f32', x.backend);
  x.backend.kernels.sum(sum.handle, x.handle, 1, x.numel, 1);
  if (factor === 1) return sum;
  const out = scaled(sum, factor);
  sum.dispose();
  return out;
}
