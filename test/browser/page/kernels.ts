import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { cpuBackend } from '../../../src/tensor/backends/cpu/index.ts';
import { type GpuMode, gpuBackend } from '../../../src/tensor/backends/gpu/index.ts';
import { assertClose, perform, performAsync } from '../../property/kernels/case.ts';
import { cases } from '../../property/kernels/cases.ts';
import { TRAPS } from '../../support/gpu-traps.ts';
import { onGpu } from './gpu-accuracy.ts';
import { report } from './report.ts';

/* Compares every kernel of the table with cpu, as the suite of Node does, in the mode of the query. */

const query = new URL(location.href).searchParams;
const mode = query.get('mode') as GpuMode;
const numRuns = Number(query.get('runs'));
const only = query.get('only')?.split(',');

const cpu = cpuBackend();
const gpu = await gpuBackend({ mode });
await report({ kind: 'opened', description: gpu.description });
for (const name of Object.keys(cpu.kernels) as (keyof Kernels)[]) {
  if (only && !only.includes(name)) continue;
  const started = performance.now();
  let message: string | undefined;
  try {
    await fc.assert(
      fc.asyncProperty(cases[name].params, async (params) => {
        const call = onGpu(name, cases[name].call(params));
        const expected = perform(call, cpu);
        const got = await performAsync(call, gpu);
        expected.forEach((array, i) => {
          assertClose(got[i], array, call.tolerance);
        });
      }),
      { numRuns },
    );
  } catch (error) {
    const { message: found, cause } = error as Error;
    message = `${found}\n${cause instanceof Error ? cause.stack : ''}`;
  }
  await report({ kind: 'kernel', name, message, ms: performance.now() - started });
}
for (const { name, run } of only ? [] : TRAPS) {
  const message = await run(gpu).then(
    () => undefined,
    (error: Error) => error.stack,
  );
  await report({ kind: 'trap', name, message });
}
await report({ kind: 'done', left: gpu.memory().bytes });
