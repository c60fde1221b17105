import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CompiledEngine } from '../../../src/server/compiled-engine.ts';
import { cpuBackend, gpuBackend, wasmBackend } from '../../../src/tensor/index.ts';
import { curveOfCpu, lossCurve, SAME_CURVE } from '../../support/engine-trainings.ts';
import { furthest } from '../../support/train-steps.ts';

test('ten epochs have the same losses on cpu, wasm and gpu.js', async (t) => {
  const expected = await curveOfCpu();
  assert.equal(expected.length, 20);
  assert.ok(expected[18] < expected[0] - 0.3, 'the loss falls');
  const engine = new CompiledEngine(await gpuBackend({ mode: 'webasm' }));
  const curves = {
    wasm: await lossCurve(wasmBackend()),
    'gpu:webasm': await lossCurve(cpuBackend(), engine),
  };
  await engine.close();
  for (const [name, curve] of Object.entries(curves)) {
    const off = furthest(curve, expected);
    t.diagnostic(`${name} is off by ${off}`);
    assert.equal(curve.length, expected.length);
    assert.ok(off < SAME_CURVE, `${name} is off by ${off}`);
  }
});
