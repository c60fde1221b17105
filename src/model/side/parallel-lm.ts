import { add, mul, sigmoid, slice, type Tensor } from '../../tensor/index.ts';
import {
  type AdapterParams,
  adapter,
  blend,
  initAdapters,
  type ParallelOptions,
} from './parallel.ts';
import type { SideModel, SideShape } from './side-model.ts';

/**
 * The parallel adapters with a language model's head: their gated merge into the last layer's
 * hidden state, which the backbone's frozen final norm and output matrix read.
 *
 *     mu_i = sigmoid(alpha_i)
 *     x_i  = (1 - mu_i) A_i + mu_i s_{i-1},            s_0 = A_1
 *     u_i  = gelu(x_i Wdown_i) Wup_i,   s_i = x_i + u_i
 *     d_i  = u_i + mu_i d_{i-1},                       d_0 = 0
 *     h    = H_L + g d_L,   g = sigmoid(beta)
 *
 * d_L is s_L less what it would be without adapters, so h is the frozen model's own state H_L (the
 * tap as it came, RMS-normed, not standardised) as long as Wup is 0: training starts at the frozen
 * model's perplexity. That H_L is RMS-normed changes nothing: final norms do not see a row's length.
 */
export function parallelLm(shape: SideShape, options: ParallelOptions): SideModel<AdapterParams> {
  const { layers } = shape;
  const { rank, alphaStart = 0, gateRate = 1, tapDropout } = options;
  return {
    name: 'parallel',
    shape,
    tapDropout,
    init: (rng, backend) => initAdapters(shape, rank, alphaStart, rng, backend),
    logits(params, taps) {
      const mu = sigmoid(params.alpha);
      let s = taps[0];
      let d: Tensor | undefined;
      for (let i = 0; i < layers; i++) {
        const share = slice(mu, 0, i, i + 1);
        const x = blend(taps[i], s, share);
        const u = adapter(x, params.down[i], params.up[i]);
        s = add(x, u);
        d = d ? add(u, mul(d, share)) : u;
      }
      return add(taps[layers], mul(d as Tensor, sigmoid(params.beta)));
    },
    rate: (path) => (path === 'alpha' || path === 'beta' ? gateRate : 1),
    decays: (path) => path !== 'alpha' && path !== 'beta',
  };
}
