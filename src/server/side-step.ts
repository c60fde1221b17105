// Not by model/'s barrel: a browser loads this file without a bundler.
import type { SideModel, TapDropout } from '../model/index.ts';
import { type AdamWState, adamwStep } from '../model/optim.ts';
import {
  add,
  affine,
  flatten,
  mapTree,
  random,
  type Tensor,
  type Tree,
  valueAndGrad,
} from '../tensor/index.ts';
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
 * Mean loss of a batch and its gradients.
 * @param share what the batch is of all rows of its step: the sum over its parts is then the loss,
 *   and the gradient, of one batch of them all
 */
export function sideGradients<P extends Tree>(
  model: SideModel<P>,
  objective: Objective,
  params: P,
  { taps, targets }: SideBatch,
  labelSmoothing: number,
  share = 1,
): { value: Tensor; grads: P } {
  return valueAndGrad((p: P) => {
    const loss = objective.loss(model.logits(p, taps), targets, labelSmoothing);
    return share === 1 ? loss : affine(loss, share);
  })(params);
}

/** A step's own random numbers, so that a continued training drops what it would have dropped. */
export function stepDropout(
  { name, tapDropout: rate = 0 }: SideModel,
  seed: number,
  step: number,
): TapDropout | undefined {
  if (rate === 0) return undefined;
  return { rate, rng: random(seed).fork(name).fork('dropout').fork(step) };
}

/** The sum of two trees of one form, leaf by leaf. */
export function addTrees(a: Tree, b: Tree): Tree {
  const others = flatten(b);
  return mapTree(a, (leaf, path) => add(leaf, others.get(path) as Tensor));
}

/**
 * The end of a step: clipping and AdamW, by the model's rates and decays.
 * @returns new parameters and state, and the norm of the gradient before clipping
 */
export function sideUpdate<P extends Tree>(
  { rate, decays }: SideModel<P>,
  { params, state }: { readonly params: P; readonly state: AdamWState<P> },
  grads: P,
  options: Omit<SideStepOptions, 'labelSmoothing'>,
): { params: P; state: AdamWState<P>; gradNorm: Tensor } {
  return adamwStep(params, grads, state, { ...options, rate, decays });
}

/**
 * One whole step of a side model's training: forward, backward, clipping and AdamW. Pure, and reads
 * nothing back, so that it can be compiled; the caller disposes what it no longer needs.
 * @param parts the batch, all at once or a part at a time
 * @returns new parameters and state, mean loss and norm of the gradient before clipping, both of
 *   one element
 */
export function sideStep<P extends Tree>(
  model: SideModel<P>,
  objective: Objective,
  from: { readonly params: P; readonly state: AdamWState<P> },
  parts: readonly SideBatch[],
  options: SideStepOptions,
): { params: P; state: AdamWState<P>; loss: Tensor; gradNorm: Tensor } {
  const { labelSmoothing, ...adamw } = options;
  const { params } = from;
  const rows = parts.reduce((sum, { targets }) => sum + targets.shape[0], 0);
  const gradients = parts.map((part) => {
    const share = part.targets.shape[0] / rows;
    return sideGradients(model, objective, params, part, labelSmoothing, share);
  });
  const { value: loss, grads } = gradients.reduce(addTrees);
  return { ...sideUpdate(model, from, grads, adamw), loss };
}
