import type { Kernels } from '../../backend.ts';

/** Reductions over the middle axis of `[outer, n, inner]`; sums in f64. */
export const reduceKernels = {
  sum(out, x, outer, n, inner) {
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        let total = 0;
        for (let k = 0; k < n; k++) total += x[(o * n + k) * inner + i];
        out[o * inner + i] = total;
      }
  },
  max(out, x, outer, n, inner) {
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        let best = Number.NEGATIVE_INFINITY;
        for (let k = 0; k < n; k++) best = Math.max(best, x[(o * n + k) * inner + i]);
        out[o * inner + i] = best;
      }
  },
  sumSquares(out, x, n) {
    let total = 0;
    for (let i = 0; i < n; i++) total += x[i] * x[i];
    out[0] = total;
  },
  argmax(out, x, outer, n, inner) {
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++) {
        let best = 0;
        for (let k = 1; k < n; k++) {
          if (x[(o * n + k) * inner + i] > x[(o * n + best) * inner + i]) best = k;
        }
        out[o * inner + i] = best;
      }
  },
} satisfies Partial<Kernels>;
