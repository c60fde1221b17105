import type { Kernels } from '../../backend.ts';

/** Rotary position embedding, half-split layout (Su et al. 2021, equation 34). */
export const ropeKernels = {
  rope(out, x, cos, sin, positions, rows, heads, headDim, sign) {
    const half = headDim / 2;
    for (let row = 0; row < rows; row++) {
      const angle = positions[row] * half;
      for (let head = 0; head < heads; head++) {
        const start = (row * heads + head) * headDim;
        for (let j = 0; j < half; j++) {
          const c = cos[angle + j];
          const s = sin[angle + j] * sign;
          const x0 = x[start + j];
          const x1 = x[start + half + j];
          out[start + j] = x0 * c - x1 * s;
          out[start + half + j] = x1 * c + x0 * s;
        }
      }
    }
  },
} satisfies Partial<Kernels>;
