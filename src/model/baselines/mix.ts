import { add, mul, slice, softmax, type Tensor, zeros } from '../../tensor/index.ts';
import { type HeadParams, headLogits, initHead } from '../side/head.ts';
import type { SideModel, SideShape } from '../side/side-model.ts';

/** What the layer mix trains. */
export interface MixParams {
  /** Layer logits `[L]`. */
  readonly weights: Tensor;
  readonly head: HeadParams;
}

/**
 * Layer mix (ELMo's scalar mix, Peters et al. 2018, eq. 1): logits = W sum_i softmax(w)_i A_i + b.
 * The baseline that a side network has to beat.
 */
export function layerMix(
  shape: SideShape,
  options: { mixRate?: number } = {},
): SideModel<MixParams> {
  const { mixRate = 10 } = options;
  return {
    name: 'mix',
    shape,
    init: (_rng, backend) => ({
      weights: zeros([shape.layers], backend),
      head: initHead(shape, backend),
    }),
    logits(params, taps) {
      const weights = softmax(params.weights);
      let mixed: Tensor | undefined;
      taps.forEach((tap, i) => {
        const part = mul(tap, slice(weights, 0, i, i + 1));
        mixed = mixed ? add(mixed, part) : part;
      });
      return headLogits(params.head, [mixed as Tensor], shape);
    },
    rate: (path) => (path === 'weights' ? mixRate : 1),
    decays: (path) => path === 'head.weight',
  };
}

/** Linear probe on the last tapped layer: logits = W A_L + b. */
export function linearProbe(shape: SideShape): SideModel<HeadParams> {
  return {
    name: 'probe',
    shape,
    init: (_rng, backend) => initHead(shape, backend),
    logits: (params, taps) => headLogits(params, taps.slice(-1), shape),
    rate: () => 1,
    decays: (path) => path === 'weight',
  };
}
