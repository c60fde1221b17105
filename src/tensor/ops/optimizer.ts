import { noGrad } from '../autograd.ts';
import { ShapeError } from '../errors.ts';
import { scope } from '../scope.ts';
import { commonBackend, expectDType, full, Tensor } from '../tensor.ts';
import { leaves, type Tree } from '../tree.ts';
import { binary, expectSameShape, scaled, unary } from './launch.ts';

/** Constants of one AdamW step; defaults are PyTorch's, but for weightDecay. */
export interface AdamwOptions {
  readonly learningRate: number;
  /** Number of this step, from 1: the bias corrections are `1 - beta^step`. */
  readonly step: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly eps?: number;
  /** Default 0. */
  readonly weightDecay?: number;
}

/**
 * One AdamW step for one parameter (Loshchilov & Hutter 2019, algorithm 2): p, its moments m and
 * v, gradient g, all of one shape; g is first multiplied by `gradScale` `[1]` (see `clipScale`).
 * Gives new tensors; nothing is recorded.
 * @throws ShapeError when shapes differ or step is below 1
 */
export function adamw(
  p: Tensor,
  m: Tensor,
  v: Tensor,
  g: Tensor,
  gradScale: Tensor,
  options: AdamwOptions,
): { p: Tensor; m: Tensor; v: Tensor } {
  expectDType('adamw', 'f32', p, m, v, g, gradScale);
  const backend = commonBackend('adamw', p, m, v, g, gradScale);
  for (const other of [m, v, g]) expectSameShape('adamw', p, other);
  const { learningRate, step, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0 } = options;
  if (gradScale.numel !== 1) throw new ShapeError('adamw: gradScale must hold one element');
  if (!(step >= 1)) throw new ShapeError(`adamw: step counts from 1, got ${step}`);
  const next = {
    p: Tensor.empty(p.shape, 'f32', backend),
    m: Tensor.empty(p.shape, 'f32', backend),
    v: Tensor.empty(p.shape, 'f32', backend),
  };
  backend.kernels.adamw(
    next.p.handle,
    next.m.handle,
    next.v.handle,
    p.handle,
    m.handle,
    v.handle,
    g.handle,
    gradScale.handle,
    p.numel,
    learningRate,
    beta1,
    beta2,
    eps,
    weightDecay,
    1 - beta1 ** step,
    1 - beta2 ** step,
  );
  return next;
}

/** Added to the norm, so that a zero gradient divides by something (as PyTorch does). */
const CLIP_EPS = 1e-6;

/**
 * The factor that brings a tree of gradients to at most `maxNorm`:
 * `scale = min(1, maxNorm / (norm + 1e-6))`, `norm = sqrt(sum g^2)` over all leaves, each `[1]`
 * (Pascanu et al. 2013, as torch's `clip_grad_norm_`). Computed on the backend: nothing is read
 * back.
 * @throws ShapeError when the tree has no tensors
 */
export function clipScale(grads: Tree, maxNorm: number): { scale: Tensor; norm: Tensor } {
  const all = leaves(grads);
  if (all.length === 0) throw new ShapeError('clipScale: the tree holds no tensors');
  expectDType('clipScale', 'f32', ...all);
  const backend = commonBackend('clipScale', ...all);
  return noGrad(() =>
    scope(() => {
      let squares = full([1], 0, backend);
      for (const leaf of all) {
        const part = Tensor.empty([1], 'f32', backend);
        backend.kernels.sumSquares(part.handle, leaf.handle, leaf.numel);
        squares = binary('add', squares, part);
      }
      const norm = unary('sqrt', squares);
      const ratio = scaled(unary('reciprocal', scaled(norm, 1, CLIP_EPS)), maxNorm);
      // min(1, ratio), said with the kernel there is.
      const scale = unary('neg', binary('maximum', unary('neg', ratio), full([1], -1, backend)));
      return { scale, norm };
    }),
  );
}
