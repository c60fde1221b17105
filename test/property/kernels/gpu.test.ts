import { after, describe, test } from 'node:test';
import { gpuBackend } from '../../../src/tensor/backends/gpu/index.ts';
import { BackendError } from '../../../src/tensor/errors.ts';
import { onGpu } from '../../browser/page/gpu-accuracy.ts';
import { TRAPS } from '../../support/gpu-traps.ts';
import { compareWithCpu } from './compare.ts';

/*
 * The modes of gpu.js that Node has; test/browser/ runs the same on those of a browser. gpu.js
 * compiles a kernel for every new length, which takes longer than running it: hence few runs.
 */
for (const [mode, runs] of [
  ['webasm', 12],
  ['cpu', 3],
] as const) {
  const gpu = await gpuBackend({ mode });
  after(() => gpu.destroy());
  compareWithCpu(gpu, () => runs);
}

// Its binary is made for one version of Node, from source, in half an hour: no dependency of tests.
const headless = await gpuBackend({ mode: 'headlessgl' }).catch((error) => {
  if (error instanceof BackendError) return error;
  throw error;
});
if (headless instanceof BackendError) {
  test('kernels on headless GL', { skip: headless.message }, () => {});
} else {
  after(() => headless.destroy());
  compareWithCpu(headless, () => 3, onGpu);
  describe(`${headless.description}: where gpu.js goes wrong silently`, () => {
    for (const { name, run } of TRAPS) test(name, () => run(headless));
  });
}
