import type { Kernels } from '../../../backend.ts';
import type { Floats, Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';

function firstMoment(
  this: Thread,
  m: Floats,
  g: Floats,
  gradScale: Floats,
  beta1: number,
  rest: number,
): number {
  return beta1 * m[this.thread.x] + rest * g[this.thread.x] * gradScale[0];
}

function secondMoment(
  this: Thread,
  v: Floats,
  g: Floats,
  gradScale: Floats,
  beta2: number,
  rest: number,
): number {
  const grad = g[this.thread.x] * gradScale[0];
  return beta2 * v[this.thread.x] + rest * grad * grad;
}

function parameter(
  this: Thread,
  p: Floats,
  m: Floats,
  v: Floats,
  lr: number,
  eps: number,
  weightDecay: number,
  biasCorrection1: number,
  biasCorrection2: number,
): number {
  const root = Math.sqrt(v[this.thread.x] / biasCorrection2) + eps;
  const step = m[this.thread.x] / biasCorrection1 / root;
  return p[this.thread.x] - lr * (step + weightDecay * p[this.thread.x]);
}

/** AdamW in three launches, one an output: a kernel of gpu.js that can be in a plan has one. */
export function optimizerKernels(launch: LaunchFunction) {
  return {
    adamw(
      outP,
      outM,
      outV,
      p,
      m,
      v,
      g,
      gradScale,
      n,
      lr,
      beta1,
      beta2,
      eps,
      weightDecay,
      biasCorrection1,
      biasCorrection2,
    ) {
      // 1 - beta is taken here, in f64: in f32 it would lose three digits.
      const nextM = launch(firstMoment, n, [m, g, gradScale], {}, [beta1, 1 - beta1]);
      const nextV = launch(secondMoment, n, [v, g, gradScale], {}, [beta2, 1 - beta2]);
      const rates = [lr, eps, weightDecay, biasCorrection1, biasCorrection2];
      const nextP = launch(parameter, n, [p, nextM, nextV], {}, rates);
      assign(launch, outP, nextP);
      assign(launch, outM, nextM);
      assign(launch, outV, nextV);
    },
  } satisfies Partial<Kernels>;
}
