import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { provideWebGpu } from '../../../src/server/node-webgpu.ts';

// Dawn's binaries want a newer system than some have, so a module of its form stands in.
after(() => Reflect.deleteProperty(navigator, 'gpu'));

test('WebGPU comes from the package where that loads, and else it is said why there is none', async () => {
  const missing = Object.assign(new Error('Cannot find'), { code: 'ERR_MODULE_NOT_FOUND' });
  assert.match(`${await provideWebGpu(() => Promise.reject(missing))}`, /not installed/);
  const old = () => Promise.reject(new Error('GLIBC_2.38 not found'));
  assert.equal(await provideWebGpu(old), 'the package webgpu: GLIBC_2.38 not found');
  assert.equal('gpu' in navigator, false);
  assert.match(`${await provideWebGpu(async () => ({}))}`, /not installed/);
  const gpu = { requestAdapter: async () => null };
  let made = 0;
  const dawn = { globals: { GPUThing: 7 }, create: () => [gpu][made++] };
  assert.equal(await provideWebGpu(async () => dawn), null);
  assert.equal((navigator as unknown as { gpu: unknown }).gpu, gpu);
  assert.equal((globalThis as unknown as { GPUThing: number }).GPUThing, 7);
  Reflect.deleteProperty(globalThis, 'GPUThing');
  assert.equal(await provideWebGpu(async () => dawn), null);
  assert.equal(made, 1, 'one that is there is left alone');
});
