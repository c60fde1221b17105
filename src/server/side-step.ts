// Not by model/'s barrel: a browser loads this file without a bundler.
import type { SideModel } from '../model/index.ts';
import { type AdamWState, adamwStep } from '../model/optim.ts';
import { type Tensor, type Tree, valueAndGrad } from '../tensor/index.ts';
import type { Objective } from './objective.ts';
import type { TrainingOptions } from './training-options.ts';

/** What a step trains on. */
export interface SideBatch {
  /** A_1..A_L, each `[B*K, D]`, a sample's K rows together. */
  readonly taps: readonly Tensor[];
  /** Labels `[B]` as the objective takes them. */
  readonly targets: Tensor;
}

/** Hyper-parameters of one step. */
export type SideStepOptions = Pick<
  TrainingOptions,
  'labelSmoothing' | 'weightDecay' | 'maxGradNorm' | 'learningRate'
>;

/**
 * One whole step of a side model's training: forward, backward, clipping and AdamW. Pure, and reads
 * nothing back, so that it can be compiled; the caller disposes what it no longer needs.
 * @returns new parameters and state, mean loss and norm of the gradient before clipping, both of
 *   one element
 */
export function sideStep<P extends Tree>(
  model: SideModel<P>,
  objective: Objective,
  { params, state }: { readonly params: P; readonly state: AdamWState<P> },
  { taps, targets }: SideBatch,
  options: SideStepOptions,
): { params: P; state: AdamWState<P>; loss: Tensor; gradNorm: Tensor } {
  const { labelSmoothing, ...adamw } = options;
  const lossOf = (p: P) => objective.loss(model.logits(p, taps), targets, labelSmoothing);
  const { value: loss, grads } = valueAndGrad(lossOf)(params);
  const { rate, decays } = model;
  return { ...adamwStep(params, grads, state, { ...adamw, rate, decays }), loss };
}
