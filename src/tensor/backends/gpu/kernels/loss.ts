import type { Kernels } from '../../../backend.ts';
import { type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';

/** A target below 0 (-100) takes no part. */
function nllLoss(this: Thread<'classes'>, logProbs: Floats, targets: Floats): number {
  const target = targets[this.thread.x];
  if (target < 0) return 0.0;
  return -logProbs[this.thread.x * this.constants.classes + target];
}

function crossEntropyGrad(
  this: Thread<'classes'>,
  logProbs: Floats,
  targets: Floats,
  dLossRows: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.classes);
  const target = targets[row];
  const scale = dLossRows[row];
  // An ignored row is exactly zero, whatever its logits (0 * NaN would not be).
  if (target < 0 || scale === 0) return 0.0;
  const prob = Math.exp(logProbs[this.thread.x]);
  if (this.thread.x - row * this.constants.classes === target) return (prob - 1.0) * scale;
  return prob * scale;
}

/** Cross-entropy from log-probabilities, and its gradient with respect to the logits. */
export function lossKernels(launch: LaunchFunction) {
  return {
    nllLoss(lossRows, logProbs, targets, rows, classes) {
      assign(launch, lossRows, launch(nllLoss, rows, [logProbs, targets], { classes }));
    },
    crossEntropyGrad(dLogits, logProbs, targets, dLossRows, rows, classes) {
      const inputs = [logProbs, targets, dLossRows];
      assign(launch, dLogits, launch(crossEntropyGrad, rows * classes, inputs, { classes }));
    },
  } satisfies Partial<Kernels>;
}
