import type { BinaryKernel } from '../../backend.ts';

/** The readable reference: four nested loops with strides. */
export function binaryKernel(f: (a: number, b: number) => number): BinaryKernel {
  return (out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3) => {
    let o = 0;
    for (let i0 = 0; i0 < d0; i0++)
      for (let i1 = 0; i1 < d1; i1++)
        for (let i2 = 0; i2 < d2; i2++) {
          const aRow = i0 * a0 + i1 * a1 + i2 * a2;
          const bRow = i0 * b0 + i1 * b1 + i2 * b2;
          for (let i3 = 0; i3 < d3; i3++) out[o++] = f(a[aRow + i3 * a3], b[bRow + i3 * b3]);
        }
  };
}
