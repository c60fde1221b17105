import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Backend, Kernels } from '../../../src/tensor/backend.ts';
import { cpuBackend } from '../../../src/tensor/backends/cpu/index.ts';
import { gpuBackend } from '../../../src/tensor/backends/gpu/index.ts';
import { hasRelaxedSimd } from '../../../src/tensor/backends/wasm/features.ts';
import { wasmBackend } from '../../../src/tensor/backends/wasm/index.ts';
import { assertClose, perform } from './case.ts';
import { cases } from './cases.ts';

/** Kernels whose reference takes long get fewer runs. */
const RUNS: Partial<Record<keyof Kernels, number>> = { attention: 60, attentionGrad: 40 };

/** Runs where each compiles kernels of its own. */
const GPU_RUNS = 12;

const cpu = cpuBackend();
const others: Backend[] = [wasmBackend({ variant: 'simd128' })];
if (hasRelaxedSimd()) others.push(wasmBackend({ variant: 'relaxed' }));
const gpu = await gpuBackend({ mode: 'webasm' });
others.push(gpu);
after(() => gpu.destroy());

/** gpu.js compiles a kernel for every new length, which takes longer than running it. */
const runsOf = (backend: Backend, name: keyof Kernels) =>
  backend === gpu ? GPU_RUNS : (RUNS[name] ?? 150);

for (const backend of others) {
  describe(`${backend.description} computes what cpu computes`, () => {
    for (const name of Object.keys(cpu.kernels) as (keyof Kernels)[]) {
      test(name, () => {
        const found = cases[name];
        assert.ok(found, `${name}: no case in test/property/kernels`);
        assert.equal(typeof backend.kernels[name], 'function', `${name}: not in the table`);
        const before = backend.memory().bytes;
        fc.assert(
          fc.property(found.params, (params) => {
            const call = found.call(params);
            const expected = perform(call, cpu);
            const got = perform(call, backend);
            expected.forEach((array, i) => {
              assertClose(got[i], array, call.tolerance);
            });
          }),
          { numRuns: runsOf(backend, name) },
        );
        assert.equal(backend.memory().bytes, before, `${name}: memory not given back`);
      });
    }
  });
}

test('cases stand for kernels of the table', () => {
  const known = Object.keys(cpu.kernels);
  assert.deepEqual(
    Object.keys(cases).filter((name) => !known.includes(name)),
    [],
  );
});
