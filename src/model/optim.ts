import {
  adamw,
  clipScale,
  flatten,
  mapTree,
  ones,
  type Tensor,
  type Tree,
  zeros,
} from '../tensor/index.ts';

/** AdamW's first and second moments, trees of the parameters' form, and the steps made. */
export interface AdamWState<P extends Tree> {
  readonly step: number;
  readonly m: P;
  readonly v: P;
}

/** Hyper-parameters of one AdamW step. */
export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Global norm to which gradients are clipped; Infinity does not clip. */
  readonly maxGradNorm?: number;
  /** Factor on the learning rate by path. */
  readonly rate?: (path: string) => number;
  /** Whether the path decays. */
  readonly decays?: (path: string) => boolean;
}

/** Moments of zero. */
export function adamwInit<P extends Tree>(params: P): AdamWState<P> {
  const blank = (leaf: Tensor) => zeros(leaf.shape, leaf.backend);
  return { step: 0, m: mapTree(params, blank), v: mapTree(params, blank) };
}

/**
 * One AdamW step (Loshchilov & Hutter 2019, algorithm 2) with clipping by the global norm: a pure
 * function; the caller disposes what it no longer needs.
 * @returns new parameters and state, and the gradient's norm before clipping as `[1]`
 */
export function adamwStep<P extends Tree>(
  params: P,
  grads: P,
  state: AdamWState<P>,
  options: AdamWOptions,
): { params: P; state: AdamWState<P>; gradNorm: Tensor } {
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.01 } = options;
  const { maxGradNorm = 1, learningRate, rate = () => 1, decays = () => true } = options;
  const step = state.step + 1;
  const clipped = clipScale(grads, maxGradNorm);
  const scale = Number.isFinite(maxGradNorm) ? clipped.scale : ones([1], clipped.norm.backend);
  const [byM, byV, byGrad] = [flatten(state.m), flatten(state.v), flatten(grads)];
  const m = new Map<string, Tensor>();
  const v = new Map<string, Tensor>();
  const at = (tensors: Map<string, Tensor>, path: string) => tensors.get(path) as Tensor;
  const next = mapTree(params, (p, path) => {
    const stepped = adamw(p, at(byM, path), at(byV, path), at(byGrad, path), scale, {
      learningRate: learningRate * rate(path),
      beta1,
      beta2,
      eps,
      weightDecay: decays(path) ? weightDecay : 0,
      step,
    });
    m.set(path, stepped.m);
    v.set(path, stepped.v);
    return stepped.p;
  });
  return {
    params: next,
    state: {
      step,
      m: mapTree(params, (_, path) => at(m, path)),
      v: mapTree(params, (_, path) => at(v, path)),
    },
    gradNorm: clipped.norm,
  };
}

/** A schedule's peak learning rate and its length in steps. */
export interface ScheduleOptions {
  readonly peak: number;
  readonly warmupSteps: number;
  readonly totalSteps: number;
}

/** Linear warm-up to `peak`, then half a cosine down to 0 at `totalSteps`. `step` counts from 0. */
export function warmupCosine(options: ScheduleOptions): (step: number) => number {
  const { peak, warmupSteps, totalSteps } = options;
  return (step) => {
    if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
    const rest = Math.max(1, totalSteps - warmupSteps);
    const progress = Math.min(1, (step - warmupSteps) / rest);
    return peak * 0.5 * (1 + Math.cos(Math.PI * progress));
  };
}
