import type { Kernels } from '../../backend.ts';

/** Rows of a table by their number, and the way back. */
export const embeddingKernels = {
  gatherRows(out, table, ids, n, d) {
    for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) out[i * d + j] = table[ids[i] * d + j];
  },
  scatterAddRows(out, dy, ids, n, d) {
    for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) out[ids[i] * d + j] += dy[i * d + j];
  },
} satisfies Partial<Kernels>;
