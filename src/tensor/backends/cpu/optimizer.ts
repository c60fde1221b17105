import type { Kernels } from '../../backend.ts';

/** AdamW with decoupled weight decay; the formula stands in backend.ts. */
export const optimizerKernels = {
  adamw(
    outP,
    outM,
    outV,
    p,
    m,
    v,
    g,
    gradScale,
    n,
    lr,
    beta1,
    beta2,
    eps,
    weightDecay,
    biasCorrection1,
    biasCorrection2,
  ) {
    const scale = gradScale[0];
    for (let i = 0; i < n; i++) {
      const grad = g[i] * scale;
      const mean = beta1 * m[i] + (1 - beta1) * grad;
      const square = beta2 * v[i] + (1 - beta2) * grad * grad;
      const step = mean / biasCorrection1 / (Math.sqrt(square / biasCorrection2) + eps);
      outP[i] = p[i] - lr * (step + weightDecay * p[i]);
      outM[i] = mean;
      outV[i] = square;
    }
  },
} satisfies Partial<Kernels>;
