import type { BinaryKernel, Kernels, UnaryGradKernel, UnaryKernel } from '../../backend.ts';
import { normalCdf, normalPdf } from './erf.ts';

/** One function at every element; computed in f64, rounded to f32 on the store. */
export function unaryKernel(f: (x: number) => number): UnaryKernel {
  return (out, x, n) => {
    for (let i = 0; i < n; i++) out[i] = f(x[i]);
  };
}

/** The derivative at every element, times what comes from above. */
export function unaryGradKernel(derivative: (x: number) => number): UnaryGradKernel {
  return (dx, x, dy, n) => {
    for (let i = 0; i < n; i++) dx[i] = dy[i] * derivative(x[i]);
  };
}

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

/** 1 / (1 + e^-x); e^-x may overflow to infinity, which gives the right 0. */
function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** Elementwise kernels; formulas stand in backend.ts. */
export const elementwiseKernels = {
  neg: unaryKernel((x) => -x),
  abs: unaryKernel(Math.abs),
  exp: unaryKernel(Math.exp),
  log: unaryKernel(Math.log),
  sqrt: unaryKernel(Math.sqrt),
  square: unaryKernel((x) => x * x),
  reciprocal: unaryKernel((x) => 1 / x),
  sigmoid: unaryKernel(sigmoid),
  tanh: unaryKernel(Math.tanh),
  relu: unaryKernel((x) => Math.max(x, 0)),
  gelu: unaryKernel((x) => x * normalCdf(x)),
  silu: unaryKernel((x) => x * sigmoid(x)),
  geluGrad: unaryGradKernel((x) => normalCdf(x) + x * normalPdf(x)),
  siluGrad: unaryGradKernel((x) => sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
  add: binaryKernel((a, b) => a + b),
  sub: binaryKernel((a, b) => a - b),
  mul: binaryKernel((a, b) => a * b),
  div: binaryKernel((a, b) => a / b),
  maximum: binaryKernel(Math.max),
  greater: binaryKernel((a, b) => (a > b ? 1 : 0)),
  affine(out, x, n, scale, shift) {
    for (let i = 0; i < n; i++) out[i] = x[i] * scale + shift;
  },
  siluMul(out, gate, up, n) {
    for (let i = 0; i < n; i++) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
  },
  lerp(out, a, b, share, n) {
    for (let i = 0; i < n; i++) out[i] = a[i] + (b[i] - a[i]) * share[0];
  },
  lerpGrad(dA, dB, dShareRows, a, b, share, dy, rows, d) {
    for (let row = 0; row < rows; row++) {
      let total = 0;
      for (let i = row * d; i < (row + 1) * d; i++) {
        if (dA) dA[i] = dy[i] * (1 - share[0]);
        if (dB) dB[i] = dy[i] * share[0];
        total += dy[i] * (b[i] - a[i]);
      }
      dShareRows[row] = total;
    }
  },
  fill(out, n, value) {
    out.fill(value, 0, n);
  },
} satisfies Partial<Kernels>;
