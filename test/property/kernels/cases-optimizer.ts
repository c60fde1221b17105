import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { type KernelCase, kernelCase } from './case.ts';
import { length, seed, values } from './values.ts';

const adamw = kernelCase(
  fc.record({
    n: length,
    step: fc.constantFrom(1, 2, 10, 1000),
    inPlace: fc.boolean(),
    from: seed,
  }),
  ({ n, step, inPlace, from }) => {
    const beta1 = 0.9;
    const beta2 = 0.999;
    return {
      inputs: [
        values(from, n, -1, 1),
        values(from + 1, n, -0.1, 0.1, [0]),
        values(from + 2, n, 0, 0.01, [0]),
        values(from + 3, n, -1, 1, [0]),
        values(from + 4, 1, 0.1, 1),
      ],
      outputs: [0, 1, 2].map((alias) => ({ numel: n, alias: inPlace ? alias : undefined })),
      run: (kernels, [outP, outM, outV], [p, m, v, g, scale]) =>
        kernels.adamw(
          ...([outP, outM, outV, p, m, v, g, scale, n] as const),
          ...([1e-3, beta1, beta2, 1e-8, 0.01, 1 - beta1 ** step, 1 - beta2 ** step] as const),
        ),
      // Ten roundings; m is a difference of terms up to 0.1. With v near 0 a step is up to
      // lr m / eps, all relative.
      tolerance: { absolute: 2e-7, relative: 2e-6 },
    };
  },
);

export const optimizerCases = { adamw } satisfies Partial<Record<keyof Kernels, KernelCase>>;
