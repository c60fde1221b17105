import type { ChannelAffine, SideShape, TapCodec } from '../model/index.ts';
import { TapStatistics } from '../model/side/tap-statistics.ts';
import { layersToSamples } from '../model/side/taps.ts';
import { encodeActivations } from '../quant/index.ts';
import { f16ToNumber, numberToF16 } from '../tensor/index.ts';

/**
 * The codec's calibration from one batch of pooled taps (per layer `[B*K, D]`): mean and deviation
 * of every channel, rounded to what 16 bits hold, since that is how they travel. B are samples, or
 * tokens of a language model.
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

/**
 * The codec's bytes of pooled taps (per layer `[B*K, D]`): code = (value - mean) / scale, per
 * channel, in `bits`. Overwrites `pooled`.
 */
export function encodePooled(
  pooled: readonly Float32Array[],
  samples: number,
  shape: SideShape,
  codec: TapCodec,
): Uint8Array[] {
  const { mean, scale } = codec.calibration;
  const block = shape.kinds * shape.width;
  return pooled.map((values, layer) => {
    for (let i = 0; i < values.length; i++) {
      const channel = layer * block + (i % block);
      values[i] = (values[i] - mean[channel]) / scale[channel];
    }
    return encodeActivations(values, samples * shape.kinds, shape.width, codec.bits);
  });
}
