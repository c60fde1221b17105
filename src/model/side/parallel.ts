import {
  add,
  type Backend,
  full,
  gelu,
  lerp,
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
import type { SideModel, SideShape } from './side-model.ts';

/** eps of the weightless RMS norms on the taps and in front of the head. */
export const SIDE_RMS_EPS = 1e-5;

/** What the adapters train. */
export interface AdapterParams {
  /** Mixing logits `[L]`; mu = sigmoid(alpha). */
  readonly alpha: Tensor;
  /** L matrices `[D, r]`. */
  readonly down: readonly Tensor[];
  /** L matrices `[r, D]`, zero at the start. */
  readonly up: readonly Tensor[];
  /** Gate logit of the merge with the last tap, `[1]`. */
  readonly beta: Tensor;
}

/** What the side network trains. */
export interface ParallelParams extends AdapterParams {
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
  /** Which states the head reads; gated by default. */
  readonly head?: HeadKind;
  /** Share of the taps' numbers that training zeroes in a step. */
  readonly tapDropout?: number;
}

/**
 * What a head can read: `gated`, the last state alone, as published; `dense`, the state beside
 * every layer, each with weights of its own (as DenseNet's classifier, Huang et al. 2017). Of
 * WordNet-10's test rows 0.807 dense, 0.798 gated; three seeds, `npm run learning -- --head gated`.
 */
export const HEAD_KINDS = ['dense', 'gated'] as const;

/** A name out of `HEAD_KINDS`. */
export type HeadKind = (typeof HEAD_KINDS)[number];

/**
 * Parallel adapters beside a frozen backbone: a reconstruction of MobiLLM's side network after its
 * published successor (PAE MobiLLM, arXiv 2507.01216), with our norm, gate and head:
 *
 *     mu_i = sigmoid(alpha_i)
 *     x_i  = (1 - mu_i) A_i + mu_i s_{i-1},            s_0 = A_1
 *     s_i  = x_i + gelu(x_i Wdown_i) Wup_i
 *     z_i  = rms(g s_i + (1 - g) A_i),  g = sigmoid(beta)
 *     logits = z_L Whead^T + b                           head gated, the published one
 *     logits = sum_i z_i Whead_i^T / sqrt(L) + b         head dense
 */
export function parallelSide(
  shape: SideShape,
  options: ParallelOptions,
): SideModel<ParallelParams> {
  const { layers, width } = shape;
  const { rank, alphaStart = 0, gateRate = 1, head = 'gated', tapDropout } = options;
  return {
    name: 'parallel',
    shape,
    tapDropout,
    init(rng, backend) {
      return {
        ...initAdapters({ layers, width }, rank, alphaStart, rng, backend),
        head: initHead(shape, backend, head === 'dense' ? layers : 1),
      };
    },
    logits(params, taps) {
      const mu = sigmoid(params.alpha);
      const gate = sigmoid(params.beta);
      const states: Tensor[] = [];
      let s = taps[0];
      for (let i = 0; i < layers; i++) {
        const x = blend(taps[i], s, slice(mu, 0, i, i + 1));
        s = add(x, adapter(x, params.down[i], params.up[i]));
        if (head === 'dense' || i === layers - 1) {
          states.push(rmsNorm(blend(taps[i], s, gate), null, SIDE_RMS_EPS));
        }
      }
      return headLogits(params.head, states, shape);
    },
    rate: (path) => (path === 'alpha' || path === 'beta' ? gateRate : 1),
    decays: (path) => path !== 'alpha' && path !== 'beta' && path !== 'head.bias',
  };
}

/** Adapters that add nothing yet. */
export function initAdapters(
  { layers, width }: Pick<SideShape, 'layers' | 'width'>,
  rank: number,
  alphaStart: number,
  rng: Random,
  backend: Backend,
): AdapterParams {
  const deviation = 1 / Math.sqrt(width);
  return {
    alpha: full([layers], alphaStart, backend),
    down: Array.from({ length: layers }, () =>
      randomNormal([width, rank], deviation, rng, backend),
    ),
    up: Array.from({ length: layers }, () => zeros([rank, width], backend)),
    beta: full([1], 0, backend),
  };
}

/** `gelu(x Wdown) Wup`: what a layer's adapter adds to x. */
export function adapter(x: Tensor, down: Tensor, up: Tensor): Tensor {
  return matmul(gelu(matmul(x, down)), up);
}

/** `(1 - g) a + g b`, g `[1]`. */
export function blend(a: Tensor, b: Tensor, g: Tensor): Tensor {
  return a === b ? a : lerp(a, b, g);
}
