import { type Backend, scope, type Tensor } from '../../tensor/index.ts';
import type { HiddenTuner } from '../generate.ts';
import type { LoadedAdapter } from './adapter-weights.ts';
import { layersToSamples, rmsNormRows, tapTensors } from './taps.ts';

/**
 * An adapter of a language model beside its backbone: the hidden states from which the next tokens
 * come. It works on each token alone, so decoding with a cache stays one token a step.
 * @param layers that it was trained on, ascending, the last one of the model among them
 */
export function lmTuner(
  { model, params, standardizer }: LoadedAdapter,
  layers: readonly number[],
  backend: Backend,
): HiddenTuner {
  const { shape } = model;
  return {
    layers,
    tune: (taps): Tensor =>
      scope(() => {
        const rows = taps.map((values) => rmsNormRows(values, shape.width));
        const samples = layersToSamples(rows, rows[0].length / shape.width);
        return model.logits(params, tapTensors(samples, shape, standardizer, backend));
      }),
  };
}
