import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { cpuBackend } from '../../../src/tensor/backends/cpu/index.ts';
import { hasRelaxedSimd } from '../../../src/tensor/backends/wasm/features.ts';
import { wasmBackend } from '../../../src/tensor/backends/wasm/index.ts';
import { cases } from './cases.ts';
import { compareWithCpu } from './compare.ts';

/** Kernels whose reference takes long get fewer runs. */
const RUNS: Partial<Record<keyof Kernels, number>> = { attention: 60, attentionGrad: 40 };

const runsOf = (name: keyof Kernels) => RUNS[name] ?? 150;

compareWithCpu(wasmBackend({ variant: 'simd128' }), runsOf);
if (hasRelaxedSimd()) compareWithCpu(wasmBackend({ variant: 'relaxed' }), runsOf);

test('cases stand for kernels of the table', () => {
  const known = Object.keys(cpuBackend().kernels);
  assert.deepEqual(
    Object.keys(cases).filter((name) => !known.includes(name)),
    [],
  );
});
