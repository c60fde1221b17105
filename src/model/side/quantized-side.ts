import { full, lerp, matmul, rmsNorm, type Tensor } from '../../tensor/index.ts';
import { type HeadParams, headLogits, initHead } from './head.ts';
import { climb, initRungs, projection, type RungParams } from './ladder.ts';
import { type ParallelOptions, SIDE_RMS_EPS } from './parallel.ts';
import type { SideModel, SideShape } from './side-model.ts';

/** The side network is so many times as narrow as its backbone: r of QST. */
const QST_REDUCTION = 16;

/** What QST's side network trains. */
export interface QuantizedSideParams extends RungParams {
  /** L matrices `[D, r]`. */
  readonly down: readonly Tensor[];
  /** L matrices `[r, d]`. */
  readonly widen: readonly Tensor[];
  /** `[d, D]`. */
  readonly up: Tensor;
  /** Share of the side network in the merge `[1]`, 0 at the start. */
  readonly share: Tensor;
  /** Of a classifier. */
  readonly head?: HeadParams;
}

/**
 * Quantized side tuning (QST, Zhang et al. 2024, arXiv 2401.07159): a ladder of width d = D / 16 whose
 * projections have a low rank r, merged into the backbone's own last state.
 *
 *     mu_i = sigmoid(alpha_i)
 *     d_i  = A_i Wdown_i Wwiden_i
 *     x_i  = (1 - mu_i) d_i + mu_i s_{i-1},                s_0 = d_1
 *     s_i  = x_i + gelu(rms(x_i) Win_i) Wout_i
 *     m(A, s) = (1 - a) A + a s Wup,   z_i = rms(m(A_i, s_i))
 *     logits = z_L Whead^T + b                             head gated, the published one
 *     logits = sum_i z_i Whead_i^T / sqrt(L) + b           head dense
 *     h = m(H_L, s_L)                                      of a language model: the state for its head
 *
 * a starts at 0 (QST's alpha, which is 1 - a, at 1), so training begins at the frozen model. The
 * backbone is quantized here with any side network; what is QST's own is this form.
 */
export function quantizedSide(
  shape: SideShape,
  options: ParallelOptions,
): SideModel<QuantizedSideParams> {
  const { layers, width, classes } = shape;
  const { rank, alphaStart = 0, gateRate = 1, head = 'gated', tapDropout } = options;
  const narrow = Math.ceil(width / QST_REDUCTION);
  const each = (make: () => Tensor) => Array.from({ length: layers }, make);
  const gate = (path: string) => path === 'alpha' || path === 'share';
  return {
    name: 'quantized-side',
    shape,
    tapDropout,
    init: (rng, backend) => ({
      down: each(() => projection(width, rank, rng, backend)),
      widen: each(() => projection(rank, narrow, rng, backend)),
      ...initRungs({ layers, width: narrow }, narrow, alphaStart, rng, backend),
      up: projection(narrow, width, rng, backend),
      share: full([1], 0, backend),
      ...(classes > 0 && { head: initHead(shape, backend, head === 'dense' ? layers : 1) }),
    }),
    logits(params, taps) {
      const { down, widen, up, share } = params;
      const reduced = down.map((matrix, i) => matmul(matmul(taps[i], matrix), widen[i]));
      const states = climb(params, reduced);
      const merge = (tap: Tensor, s: Tensor) => lerp(tap, matmul(s, up), share);
      if (classes === 0) return merge(taps[layers], states[layers - 1]);
      const first = head === 'dense' ? 0 : layers - 1;
      const read = states
        .slice(first)
        .map((s, i) => rmsNorm(merge(taps[first + i], s), null, SIDE_RMS_EPS));
      return headLogits(params.head as HeadParams, read, shape);
    },
    rate: (path) => (gate(path) ? gateRate : 1),
    decays: (path) => !gate(path) && path !== 'head.bias',
  };
}
