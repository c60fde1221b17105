import type { Kernels } from '../../backend.ts';

/** A target with this value takes no part in the loss (PyTorch's convention). */
const IGNORED = -100;

/** Cross-entropy from log-probabilities, and its gradient with respect to the logits. */
export const lossKernels = {
  nllLoss(lossRows, logProbs, targets, rows, classes) {
    for (let row = 0; row < rows; row++) {
      const target = targets[row];
      lossRows[row] = target === IGNORED ? 0 : -logProbs[row * classes + target];
    }
  },
  crossEntropyGrad(dLogits, logProbs, targets, dLossRows, rows, classes) {
    for (let row = 0; row < rows; row++) {
      const target = targets[row];
      const scale = target === IGNORED ? 0 : dLossRows[row];
      const start = row * classes;
      for (let c = 0; c < classes; c++) {
        // An ignored row is exactly zero, whatever its logits (0 * NaN would not be).
        dLogits[start + c] =
          scale === 0 ? 0 : (Math.exp(logProbs[start + c]) - (c === target ? 1 : 0)) * scale;
      }
    }
  },
} satisfies Partial<Kernels>;
