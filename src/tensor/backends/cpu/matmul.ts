import type { Kernels } from '../../backend.ts';

/** The textbook product: one dot product an output element, summed in f64. */
export const matmulKernels = {
  matmul(out, a, b, batch, m, n, k, transA, transB, strideA, strideB) {
    // Distance in elements between neighbours along the row (m or n) and along the inner axis (k).
    const aRow = transA ? 1 : k;
    const aStep = transA ? m : 1;
    const bCol = transB ? k : 1;
    const bStep = transB ? 1 : n;
    let o = 0;
    for (let i = 0; i < batch; i++)
      for (let row = 0; row < m; row++) {
        const aStart = i * strideA + row * aRow;
        for (let col = 0; col < n; col++) {
          const bStart = i * strideB + col * bCol;
          let dot = 0;
          for (let p = 0; p < k; p++) dot += a[aStart + p * aStep] * b[bStart + p * bStep];
          out[o++] = dot;
        }
      }
  },
} satisfies Partial<Kernels>;
