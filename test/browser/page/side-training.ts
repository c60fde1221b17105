import { type GpuMode, gpuBackend } from '../../../src/tensor/backends/gpu/index.ts';
import { HEADS, TRAINING, waysOf } from '../../support/side-trainings.ts';
import { trainSide } from '../../support/train-steps.ts';
import { report } from './report.ts';

/* Trains the side network in the mode of the query, and tells what came of it. */

const mode = new URL(location.href).searchParams.get('mode') as GpuMode;

const gpu = await gpuBackend({ mode });
let since = performance.now();
await report({ kind: 'opened', description: gpu.description });
for (const head of HEADS) {
  for (const way of waysOf(mode)) {
    const trained = await trainSide(gpu, { ...TRAINING, head, way });
    const ms = performance.now() - since;
    since += ms;
    await report({ kind: 'trained', head, way, trained, ms });
  }
}
await report({ kind: 'done', left: gpu.memory().bytes });
