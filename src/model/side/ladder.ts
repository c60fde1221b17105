import {
  add,
  type Backend,
  full,
  gelu,
  matmul,
  type Random,
  randomNormal,
  rmsNorm,
  sigmoid,
  slice,
  type Tensor,
  zeros,
} from '../../tensor/index.ts';
import { type HeadParams, headLogits, initHead } from './head.ts';
import { blend, type ParallelOptions, SIDE_RMS_EPS } from './parallel.ts';
import type { SideModel, SideShape } from './side-model.ts';

/** A ladder is so many times as narrow as its backbone: r of LST. */
const LADDER_REDUCTION = 8;

/** The rungs that states of width d climb. */
export interface RungParams {
  /** Gate logits `[L]`. */
  readonly alpha: Tensor;
  /** L matrices `[d, r]`. */
  readonly inner: readonly Tensor[];
  /** L matrices `[r, d]`, zero at the start. */
  readonly outer: readonly Tensor[];
}

/** What a ladder trains. */
export interface LadderParams extends RungParams {
  /** L matrices `[D, d]`. */
  readonly down: readonly Tensor[];
  /** Of a classifier. */
  readonly head?: HeadParams;
  /** `[d, D]` of a language model, zero at the start. */
  readonly up?: Tensor;
}

/**
 * Ladder side tuning (LST, Sung et al. 2022, arXiv 2206.06522): a network of width d = D / 8 beside
 * the backbone, fed by a projection of every tapped layer. Its blocks work on each tap alone, for
 * other tokens are not sent; so each is the MLP of a thin transformer block, of inner width r.
 *
 *     mu_i = sigmoid(alpha_i)
 *     x_i  = (1 - mu_i) A_i Wdown_i + mu_i s_{i-1},      s_0 = A_1 Wdown_1
 *     s_i  = x_i + gelu(rms(x_i) Win_i) Wout_i,          z_i = rms(s_i)
 *     logits = z_L Whead^T + b                           head gated, the published one
 *     logits = sum_i z_i Whead_i^T / sqrt(L) + b         head dense
 *     h = H_L + z_L Wup                                  of a language model: the state for its head
 *
 * LST divides alpha by 0.1: under Adam that is a rate ten times as high, which is `gateRate`.
 */
export function ladderSide(shape: SideShape, options: ParallelOptions): SideModel<LadderParams> {
  const { layers, width, classes } = shape;
  const { rank, alphaStart = 0, gateRate = 1, head = 'gated', tapDropout } = options;
  const narrow = { ...shape, width: Math.ceil(width / LADDER_REDUCTION) };
  const each = (make: () => Tensor) => Array.from({ length: layers }, make);
  return {
    name: 'ladder',
    shape,
    tapDropout,
    init: (rng, backend) => ({
      down: each(() => projection(width, narrow.width, rng, backend)),
      ...initRungs(narrow, rank, alphaStart, rng, backend),
      ...(classes === 0
        ? { up: zeros([narrow.width, width], backend) }
        : { head: initHead(narrow, backend, head === 'dense' ? layers : 1) }),
    }),
    logits(params, taps) {
      const reduced = params.down.map((down, i) => matmul(taps[i], down));
      const states = climb(params, reduced);
      const normed = (s: Tensor) => rmsNorm(s, null, SIDE_RMS_EPS);
      if (params.up) return add(taps[layers], matmul(normed(states[layers - 1]), params.up));
      const read = head === 'dense' ? states : states.slice(-1);
      return headLogits(params.head as HeadParams, read.map(normed), narrow);
    },
    rate: (path) => (path === 'alpha' ? gateRate : 1),
    decays: (path) => path !== 'alpha' && path !== 'head.bias',
  };
}

/** Rungs that add nothing yet; states have `width`, blocks the inner width `rank`. */
export function initRungs(
  { layers, width }: Pick<SideShape, 'layers' | 'width'>,
  rank: number,
  alphaStart: number,
  rng: Random,
  backend: Backend,
): RungParams {
  const each = (make: () => Tensor) => Array.from({ length: layers }, make);
  return {
    alpha: full([layers], alphaStart, backend),
    inner: each(() => projection(width, rank, rng, backend)),
    outer: each(() => zeros([rank, width], backend)),
  };
}

/** `[K, N]`, normal, that keeps the size of what it projects. */
export function projection(from: number, to: number, rng: Random, backend: Backend): Tensor {
  return randomNormal([from, to], 1 / Math.sqrt(from), rng, backend);
}

/** States s_1..s_L `[R, d]` of what every layer gives, `[R, d]` each. */
export function climb(params: RungParams, reduced: readonly Tensor[]): Tensor[] {
  const mu = sigmoid(params.alpha);
  let s = reduced[0];
  return reduced.map((given, i) => {
    const x = blend(given, s, slice(mu, 0, i, i + 1));
    const inner = gelu(matmul(rmsNorm(x, null, SIDE_RMS_EPS), params.inner[i]));
    s = add(x, matmul(inner, params.outer[i]));
    return s;
  });
}
