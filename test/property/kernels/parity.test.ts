import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Backend, Kernels } from '../../../src/tensor/backend.ts';
import { cpuBackend } from '../../../src/tensor/backends/cpu/index.ts';
import { hasRelaxedSimd } from '../../../src/tensor/backends/wasm/features.ts';
import { wasmBackend } from '../../../src/tensor/backends/wasm/index.ts';
import { assertClose, type KernelCase, perform } from './case.ts';
import { attentionCases } from './cases-attention.ts';
import { elementwiseCases } from './cases-elementwise.ts';
import { layoutCases } from './cases-layout.ts';
import { matmulCases } from './cases-matmul.ts';
import { normCases } from './cases-norm.ts';
import { optimizerCases } from './cases-optimizer.ts';
import { reduceCases } from './cases-reduce.ts';

const cases: Record<keyof Kernels, KernelCase> = {
  ...elementwiseCases,
  ...layoutCases,
  ...reduceCases,
  ...matmulCases,
  ...normCases,
  ...attentionCases,
  ...optimizerCases,
};

/** Kernels whose reference takes long get fewer runs. */
const RUNS: Partial<Record<keyof Kernels, number>> = { attention: 60, attentionGrad: 40 };

const cpu = cpuBackend();
const others: Backend[] = [wasmBackend({ variant: 'simd128' })];
if (hasRelaxedSimd()) others.push(wasmBackend({ variant: 'relaxed' }));

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
          { numRuns: RUNS[name] ?? 150 },
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
