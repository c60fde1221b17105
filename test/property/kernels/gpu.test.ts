import { after } from 'node:test';
import { gpuBackend } from '../../../src/tensor/backends/gpu/index.ts';
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
