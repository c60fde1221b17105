import type { Kernels } from '../../backend.ts';

/** The strided copy; works for any dtype, as both sides are typed arrays of one kind. */
export const layoutKernels = {
  copy(out, outOffset, x, xOffset, d0, d1, d2, d3, o0, o1, o2, o3, x0, x1, x2, x3) {
    for (let i0 = 0; i0 < d0; i0++)
      for (let i1 = 0; i1 < d1; i1++)
        for (let i2 = 0; i2 < d2; i2++) {
          const outRow = outOffset + i0 * o0 + i1 * o1 + i2 * o2;
          const xRow = xOffset + i0 * x0 + i1 * x1 + i2 * x2;
          for (let i3 = 0; i3 < d3; i3++) out[outRow + i3 * o3] = x[xRow + i3 * x3];
        }
  },
} satisfies Partial<Kernels>;
