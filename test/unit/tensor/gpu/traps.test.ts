import { after, describe, test } from 'node:test';
import { gpuBackend } from '../../../../src/tensor/index.ts';
import { TRAPS } from '../../../support/gpu-traps.ts';

const gpu = await gpuBackend({ mode: 'webasm' });
after(() => gpu.destroy());

describe(`${gpu.description}: where gpu.js goes wrong silently`, () => {
  for (const { name, run } of TRAPS) test(name, () => run(gpu));
});
