import type { Kernels } from '../../backend.ts';

/** `max + log(sum(exp(x - max)))` of one row: no exponential overflows. */
function logSumExp(x: Float32Array, start: number, d: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < d; j++) top = Math.max(top, x[start + j]);
  let total = 0;
  for (let j = 0; j < d; j++) total += Math.exp(x[start + j] - top);
  return top + Math.log(total);
}

/** RMS norm, layer norm and softmax over rows of width d, with their gradients; sums in f64. */
export const normKernels = {
  rmsNorm(out, rstd, x, weight, rows, d, eps) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      let squares = 0;
      for (let j = 0; j < d; j++) squares += x[start + j] * x[start + j];
      const scale = 1 / Math.sqrt(squares / d + eps);
      rstd[row] = scale;
      for (let j = 0; j < d; j++) out[start + j] = x[start + j] * scale * (weight ? weight[j] : 1);
    }
  },
  rmsNormGrad(dx, x, rstd, weight, dy, rows, d) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      const scale = rstd[row];
      let dot = 0;
      for (let j = 0; j < d; j++) {
        dot += dy[start + j] * (weight ? weight[j] : 1) * x[start + j] * scale;
      }
      const mean = dot / d;
      for (let j = 0; j < d; j++) {
        const g = dy[start + j] * (weight ? weight[j] : 1);
        dx[start + j] = scale * (g - x[start + j] * scale * mean);
      }
    }
  },
  layerNorm(out, mean, rstd, x, weight, bias, rows, d, eps) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      let total = 0;
      for (let j = 0; j < d; j++) total += x[start + j];
      const middle = total / d;
      let squares = 0;
      for (let j = 0; j < d; j++) squares += (x[start + j] - middle) ** 2;
      const scale = 1 / Math.sqrt(squares / d + eps);
      mean[row] = middle;
      rstd[row] = scale;
      for (let j = 0; j < d; j++) {
        const normed = (x[start + j] - middle) * scale;
        out[start + j] = normed * (weight ? weight[j] : 1) + (bias ? bias[j] : 0);
      }
    }
  },
  layerNormGrad(dx, x, mean, rstd, weight, dy, rows, d) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      const scale = rstd[row];
      const middle = mean[row];
      let total = 0;
      let dot = 0;
      for (let j = 0; j < d; j++) {
        const g = dy[start + j] * (weight ? weight[j] : 1);
        total += g;
        dot += g * (x[start + j] - middle) * scale;
      }
      for (let j = 0; j < d; j++) {
        const g = dy[start + j] * (weight ? weight[j] : 1);
        const normed = (x[start + j] - middle) * scale;
        dx[start + j] = scale * (g - total / d - (normed * dot) / d);
      }
    }
  },
  softmax(out, x, rows, d) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      const log = logSumExp(x, start, d);
      for (let j = 0; j < d; j++) out[start + j] = Math.exp(x[start + j] - log);
    }
  },
  logSoftmax(out, x, rows, d) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      const log = logSumExp(x, start, d);
      for (let j = 0; j < d; j++) out[start + j] = x[start + j] - log;
    }
  },
  softmaxGrad(dx, y, dy, rows, d) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      let dot = 0;
      for (let j = 0; j < d; j++) dot += dy[start + j] * y[start + j];
      for (let j = 0; j < d; j++) dx[start + j] = y[start + j] * (dy[start + j] - dot);
    }
  },
  logSoftmaxGrad(dx, y, dy, rows, d) {
    for (let row = 0; row < rows; row++) {
      const start = row * d;
      let total = 0;
      for (let j = 0; j < d; j++) total += dy[start + j];
      for (let j = 0; j < d; j++) dx[start + j] = dy[start + j] - Math.exp(y[start + j]) * total;
    }
  },
} satisfies Partial<Kernels>;
