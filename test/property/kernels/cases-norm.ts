import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { EPSILON, type KernelCase, kernelCase, type Tolerance } from './case.ts';
import { length, seed, values } from './values.ts';

const shape = {
  rows: fc.constantFrom(0, 1, 2, 3, 5),
  d: length.filter((d) => d > 0),
  from: seed,
};

/** Sums of up to 1025 terms of either sign in f32, in four to sixteen lanes. */
const SUMMED: Tolerance = { absolute: 1e-5, relative: 2e-6 };

/** e^x to 1e-7, arguments to |x| EPSILON with |x| at most 40. */
const EXPONENTIAL: Tolerance = { absolute: 1e-30, relative: 6e-6 };

/** Large enough that rows of equal values (rows of one, always) do not magnify rounding. */
const LAYER_EPS = 0.1;

const rmsNorm = kernelCase(
  fc.record({ ...shape, weighted: fc.boolean(), tiny: fc.boolean() }),
  ({ rows, d, from, weighted, tiny }) => {
    const range = tiny ? 1e-4 : 30;
    return {
      inputs: [values(from, rows * d, -range, range), weighted ? values(from + 1, d, -2, 2) : null],
      outputs: [{ numel: rows * d }, { numel: rows }],
      run: (kernels, [out, rstd], [x, weight]) =>
        kernels.rmsNorm(out, rstd, x, weight, rows, d, 1e-5),
      tolerance: { absolute: 0, relative: 2e-6 },
    };
  },
);

const rmsNormGrad = kernelCase(
  fc.record({ ...shape, weighted: fc.boolean() }),
  ({ rows, d, from, weighted }) => ({
    inputs: [
      values(from, rows * d, -2, 2),
      values(from + 1, rows, 0.5, 1.5),
      weighted ? values(from + 2, d, -2, 2) : null,
      values(from + 3, rows * d),
    ],
    outputs: [{ numel: rows * d }],
    run: (kernels, [dx], [x, rstd, weight, dy]) =>
      kernels.rmsNormGrad(dx, x, rstd, weight, dy, rows, d),
    tolerance: SUMMED,
  }),
);

const layerNorm = kernelCase(
  fc.record({
    ...shape,
    weighted: fc.boolean(),
    biased: fc.boolean(),
    middle: fc.constantFrom(0, 3),
  }),
  ({ rows, d, from, weighted, biased, middle }) => ({
    inputs: [
      values(from, rows * d, middle - 2, middle + 2),
      weighted ? values(from + 1, d, -2, 2) : null,
      biased ? values(from + 2, d, -2, 2) : null,
    ],
    outputs: [{ numel: rows * d }, { numel: rows }, { numel: rows }],
    run: (kernels, [out, mean, rstd], [x, weight, bias]) =>
      kernels.layerNorm(out, mean, rstd, x, weight, bias, rows, d, LAYER_EPS),
    // The mean, off by an ulp or two of |x| <= 5, is subtracted, and rstd is at most 3.2.
    tolerance: { absolute: 3.2 * 2 * 5 * 8 * EPSILON, relative: 4e-6 },
  }),
);

const layerNormGrad = kernelCase(
  fc.record({ ...shape, weighted: fc.boolean() }),
  ({ rows, d, from, weighted }) => ({
    inputs: [
      values(from, rows * d, -2, 2),
      values(from + 1, rows, -0.5, 0.5),
      values(from + 2, rows, 0.5, 1.5),
      weighted ? values(from + 3, d, -2, 2) : null,
      values(from + 4, rows * d),
    ],
    outputs: [{ numel: rows * d }],
    run: (kernels, [dx], [x, mean, rstd, weight, dy]) =>
      kernels.layerNormGrad(dx, x, mean, rstd, weight, dy, rows, d),
    tolerance: SUMMED,
  }),
);

const softmax = kernelCase(fc.record(shape), ({ rows, d, from }) => ({
  inputs: [values(from, rows * d, -20, 20)],
  outputs: [{ numel: rows * d }],
  run: (kernels, [out], [x]) => kernels.softmax(out, x, rows, d),
  tolerance: EXPONENTIAL,
}));

const logSoftmax = kernelCase(fc.record(shape), ({ rows, d, from }) => ({
  inputs: [values(from, rows * d, -20, 20)],
  outputs: [{ numel: rows * d }],
  run: (kernels, [out], [x]) => kernels.logSoftmax(out, x, rows, d),
  // x - max - log(sum) with |x - max| up to 40: two roundings at that size.
  tolerance: { absolute: 2 * 40 * EPSILON, relative: 2 * EPSILON },
}));

/** Probabilities (or their logarithms) of random logits, exactly those that a forward pass gives. */
function probabilities(from: number, rows: number, d: number, log: boolean): Float32Array {
  const y = values(from, rows * d, -4, 4);
  for (let row = 0; row < rows; row++) {
    const part = y.subarray(row * d, (row + 1) * d);
    const total = part.reduce((sum, x) => sum + Math.exp(x), 0);
    part.set(part.map((x) => (log ? x - Math.log(total) : Math.exp(x) / total)));
  }
  return y;
}

function grad(name: 'softmaxGrad' | 'logSoftmaxGrad'): KernelCase {
  return kernelCase(fc.record(shape), ({ rows, d, from }) => ({
    inputs: [
      probabilities(from, rows, d, name === 'logSoftmaxGrad'),
      values(from + 1, rows * d, -2, 2),
    ],
    outputs: [{ numel: rows * d }],
    run: (kernels, [dx], [y, dy]) => kernels[name](dx, y, dy, rows, d),
    tolerance: SUMMED,
  }));
}

/** Targets of any class, some rows not counted. */
function targets(from: number, rows: number, classes: number): Int32Array {
  return Int32Array.from(values(from, rows, -0.25, 1), (x) =>
    x < 0 ? -100 : Math.floor(x * classes),
  );
}

const nllLoss = kernelCase(fc.record(shape), ({ rows, d, from }) => ({
  inputs: [probabilities(from, rows, d, true), targets(from + 1, rows, d)],
  outputs: [{ numel: rows }],
  run: (kernels, [loss], [y, target]) => kernels.nllLoss(loss, y, target, rows, d),
  tolerance: { absolute: 0, relative: 0 },
}));

const crossEntropyGrad = kernelCase(fc.record(shape), ({ rows, d, from }) => ({
  inputs: [
    probabilities(from, rows, d, true),
    targets(from + 1, rows, d),
    values(from + 2, rows, -1, 1, [0]),
  ],
  outputs: [{ numel: rows * d }],
  run: (kernels, [dx], [y, target, dLoss]) =>
    kernels.crossEntropyGrad(dx, y, target, dLoss, rows, d),
  // e^y to 5e-7 of at most 1; p - 1 keeps that as an absolute error.
  tolerance: { absolute: 5e-7, relative: 5e-7 },
}));

export const normCases = {
  rmsNorm,
  rmsNormGrad,
  layerNorm,
  layerNormGrad,
  softmax,
  logSoftmax,
  softmaxGrad: grad('softmaxGrad'),
  logSoftmaxGrad: grad('logSoftmaxGrad'),
  nllLoss,
  crossEntropyGrad,
} satisfies Partial<Record<keyof Kernels, KernelCase>>;
