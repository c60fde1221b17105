import {
  add,
  full,
  gelu,
  matmul,
  mul,
  randomNormal,
  rmsNorm,
  sigmoid,
  slice,
  sub,
  type Tensor,
  zeros,
} from '../../tensor/index.ts';
import { type HeadParams, headLogits, initHead } from './head.ts';
import type { SideModel, SideShape } from './side-model.ts';

/** eps of the weightless RMS norms on the taps and in front of the head. */
export const SIDE_RMS_EPS = 1e-5;

/** What the side network trains. */
export interface ParallelParams {
  /** Mixing logits `[L]`; mu = sigmoid(alpha). */
  readonly alpha: Tensor;
  /** L matrices `[D, r]`. */
  readonly down: readonly Tensor[];
  /** L matrices `[r, D]`, zero at the start. */
  readonly up: readonly Tensor[];
  /** Gate logit of the merge with the last tap, `[1]`. */
  readonly beta: Tensor;
  readonly head: HeadParams;
}

/** What the side network is built from beyond its shape. */
export interface ParallelOptions {
  /** Bottleneck r of every adapter. */
  readonly rank: number;
  /** Start of alpha: 0 weighs a layer and all before it alike, above 0 favours those before. */
  readonly alphaStart?: number;
  /** Factor on alpha's and beta's learning rate: at the adapters' rate they hardly move. */
  readonly gateRate?: number;
}

/**
 * Parallel adapters beside a frozen backbone: a reconstruction of MobiLLM's side network after its
 * published successor (PAE MobiLLM, arXiv 2507.01216), with our norm, gate and head:
 *
 *     mu_i = sigmoid(alpha_i)
 *     x_i  = (1 - mu_i) A_i + mu_i s_{i-1},            s_0 = A_1
 *     s_i  = x_i + gelu(x_i Wdown_i) Wup_i
 *     z    = rms(g s_L + (1 - g) A_L),  g = sigmoid(beta);   logits = z Whead^T + b
 */
export function parallelSide(
  shape: SideShape,
  options: ParallelOptions,
): SideModel<ParallelParams> {
  const { layers, width } = shape;
  const { rank, alphaStart = 0, gateRate = 1 } = options;
  return {
    name: 'parallel',
    shape,
    init(rng, backend) {
      const deviation = 1 / Math.sqrt(width);
      return {
        alpha: full([layers], alphaStart, backend),
        down: Array.from({ length: layers }, () =>
          randomNormal([width, rank], deviation, rng, backend),
        ),
        up: Array.from({ length: layers }, () => zeros([rank, width], backend)),
        beta: full([1], 0, backend),
        head: initHead(shape, backend),
      };
    },
    logits(params, taps) {
      const mu = sigmoid(params.alpha);
      let s = taps[0];
      for (let i = 0; i < layers; i++) {
        const x = blend(taps[i], s, slice(mu, 0, i, i + 1));
        s = add(x, matmul(gelu(matmul(x, params.down[i])), params.up[i]));
      }
      const merged = blend(taps[layers - 1], s, sigmoid(params.beta));
      return headLogits(params.head, rmsNorm(merged, null, SIDE_RMS_EPS), shape);
    },
    rate: (path) => (path === 'alpha' || path === 'beta' ? gateRate : 1),
    decays: (path) => path !== 'alpha' && path !== 'beta' && path !== 'head.bias',
  };
}

/** `(1 - g) a + g b`, g `[1]`. */
function blend(a: Tensor, b: Tensor, g: Tensor): Tensor {
  return a === b ? a : add(a, mul(sub(b, a), g));
}
