// A train step that every contender makes on the same numbers.

import { type Backend, gpuBackend, wasmBackend } from '../../src/tensor/index.ts';
import type { StepShape } from '../server-shapes.ts';
import { rateAt, SideTraining, STEP_OPTIONS, type StepData } from '../server-steps.ts';

/** Mean loss, and norm of the gradient before clipping. */
export interface StepNumbers {
  readonly loss: number;
  readonly gradNorm: number;
}

/** A way to train the side network: one step after the other from the same start. */
export interface StepEngine {
  /** `mobillm`, `tfjs`, `PyTorch`, ... */
  readonly engine: string;
  /** What really runs. */
  readonly variant: string;
  /** Makes one more step of the training. */
  step(): StepNumbers | Promise<StepNumbers>;
  /** Makes so many steps and gives the processor's seconds for one. */
  seconds(steps: number): Promise<number>;
  dispose(): void | Promise<void>;
}

/** What all engines have in common: hyper-parameters, and what the side network's norm adds. */
export const HYPER = {
  ...STEP_OPTIONS,
  rateAt,
  beta1: 0.9,
  beta2: 0.999,
  adamEps: 1e-8,
  rmsEps: 1e-5,
};

/** Processor seconds of this process for one of `steps` runs of `body`. */
export async function secondsOf(
  steps: number,
  body: () => unknown | Promise<unknown>,
): Promise<number> {
  const from = process.cpuUsage();
  for (let i = 0; i < steps; i++) await body();
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1e6 / steps;
}

function ours(variant: string, backend: Backend, training: SideTraining, plan: number): StepEngine {
  return {
    engine: 'mobillm',
    variant,
    async step() {
      if (plan > 1) await training.call(1);
      else training.step();
      const { loss, gradNorm } = training;
      return { loss, gradNorm };
    },
    seconds: async (steps) => {
      if (plan === 1) return secondsOf(steps, () => training.step());
      return (await secondsOf(Math.ceil(steps / plan), () => training.call(plan))) / plan;
    },
    async dispose() {
      await training.dispose();
      if ('destroy' in backend) await (backend as { destroy(): Promise<void> }).destroy();
    },
  };
}

/** Our wasm backend, one thread. */
export function wasmEngine(shape: StepShape, data: StepData): StepEngine {
  const backend = wasmBackend();
  return ours(backend.description, backend, new SideTraining(shape, backend, data), 1);
}

/** gpu.js under our kernels: `plan` steps in one compiled call, or with 1 kernel by kernel. */
export async function gpuEngine(
  shape: StepShape,
  data: StepData,
  plan: number,
): Promise<StepEngine> {
  const backend = await gpuBackend({ mode: 'webasm' });
  const how = plan > 1 ? `plan of ${plan} steps` : 'kernel by kernel';
  const variant = `${backend.description}, ${how}`;
  return ours(variant, backend, new SideTraining(shape, backend, data), plan);
}
