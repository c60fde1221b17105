import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  batchBytes,
  nameOfShape,
  parameterCount,
  SMALL_STEP,
  type StepShape,
  stepFlops,
} from '../../../bench/server-shapes.ts';
import { checkStep, referenceOf, SideTraining, stepData } from '../../../bench/server-steps.ts';
import {
  type Backend,
  cpuBackend,
  gpuBackend,
  type Kernels,
  wasmBackend,
} from '../../../src/tensor/index.ts';

const TINY: StepShape = { ...SMALL_STEP, layers: 3, width: 16, rank: 4, rows: 6 };

/** Losses that differ by f32 rounding through a few steps. */
const CLOSE = 1e-5;

for (const head of ['gated', 'dense'] as const) {
  const shape = { ...TINY, head };
  test(`head ${head}: every way to make a step agrees with the reference`, async () => {
    const reference = await referenceOf(shape);
    const check = async (training: SideTraining, way: 'step' | 'call') => {
      if (way === 'step') training.step();
      else await training.call(1);
      const { loss, gradNorm } = training;
      checkStep(way, { loss, gradNorm, moments: training.moments() }, reference);
    };
    await check(new SideTraining(shape, wasmBackend()), 'step');
    await check(new SideTraining(shape, wasmBackend()), 'call');
    const gpu = await gpuBackend({ mode: 'webasm' });
    const compiled = new SideTraining(shape, gpu);
    await check(compiled, 'call');
    assert.equal(compiled.executor, 'fused-sync');
    await compiled.dispose();
    await gpu.destroy();
  });

  test(`head ${head}: operations, parameters and bytes are those of a step`, () => {
    let [ops, written] = [0, 0];
    const cpu = cpuBackend();
    const matmul: Kernels['matmul'] = (...args) => {
      const [, , , batch, m, n, k] = args;
      ops += 2 * batch * m * n * k;
      cpu.kernels.matmul(...args);
    };
    const backend: Backend = {
      ...cpu,
      kernels: { ...cpu.kernels, matmul },
      write(handle, dtype, data, offset) {
        written += data.byteLength;
        cpu.write(handle, dtype, data, offset);
      },
    };
    const training = new SideTraining(shape, backend);
    [ops, written] = [0, 0];
    training.step();
    assert.equal(ops, stepFlops(shape));
    assert.equal(written, batchBytes(shape));
    const count = [...stepData(shape).params.values()].reduce((sum, { length }) => sum + length, 0);
    assert.equal(count, parameterCount(shape));
  });
}

test('three steps in one call are three steps', async () => {
  const [one, three] = [0, 0].map(() => new SideTraining(TINY, cpuBackend()));
  for (let i = 0; i < 3; i++) one.step();
  await three.call(3);
  assert.ok(Math.abs(one.loss - three.loss) < CLOSE);
});

test('a step that is off is told by what is off', async () => {
  const reference = await referenceOf(TINY);
  const off = { ...reference, loss: reference.loss * 1.01 };
  assert.throws(() => checkStep('it', off, reference), /it: the loss is/);
  const [[path, moment]] = reference.moments;
  const moments = new Map(reference.moments).set(
    path,
    moment.map((x) => 1.01 * x),
  );
  assert.throws(() => checkStep('it', { ...reference, moments }, reference), /the moment of alpha/);
});

test('a shape is told by all of its sizes', () => {
  assert.equal(nameOfShape(TINY), 'L3-d16-r4-b6-gated');
});
