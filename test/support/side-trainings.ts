import { HEAD_KINDS } from '../../src/model/side/parallel.ts';
import type { GpuMode } from '../../src/tensor/backends/gpu/index.ts';
import type { TrainSettings } from './train-steps.ts';

/* What a page trains, and the test that opens it computes again. */

/** Both heads of the side network. */
export const HEADS = HEAD_KINDS;

/**
 * Twelve steps, enough to learn something by; two a call and two layers, since on WebGL every
 * kernel call of a plan is a shader of its own, which takes a GPU in software a while.
 */
export const TRAINING = { calls: 6, stepsACall: 2, layers: 2 } satisfies TrainSettings;

/** WebGPU answers later, so nobody can look at every loss there. */
export function waysOf(mode: GpuMode): readonly ('compiled' | 'stepwise')[] {
  return mode === 'webgpu' ? ['compiled'] : ['compiled', 'stepwise'];
}
