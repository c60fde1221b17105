import {
  type ChannelAffine,
  layersToSamples,
  type SideShape,
  TapStatistics,
} from '../model/index.ts';
import { f16ToNumber, numberToF16 } from '../tensor/index.ts';

/**
 * The codec's calibration from one batch of pooled taps (per layer `[B*K, D]`): mean and deviation
 * of every channel, rounded to what 16 bits hold, since that is how they travel.
 */
export function calibrate(
  pooled: readonly Float32Array[],
  samples: number,
  shape: SideShape,
): ChannelAffine {
  const statistics = new TapStatistics(shape);
  for (const sample of layersToSamples(pooled, samples)) statistics.add(sample);
  const { mean, scale } = statistics.deviation();
  const round = (x: number) => f16ToNumber(numberToF16(x));
  return { mean: mean.map(round), scale: scale.map(round) };
}
