import type { ChannelAffine, SideShape, TapCodec } from '../model/index.ts';
import { TapStatistics } from '../model/side/tap-statistics.ts';
import { encodeRows } from '../quant/index.ts';
import { type Backend, f16ToNumber, numberToF16, scope, tensor } from '../tensor/index.ts';

/**
 * A layer's part of the codec's calibration, from one batch of its pooled taps `[B*K, D]`: mean and
 * deviation of every channel `[K, D]`, rounded to what 16 bits hold, since that is how they travel.
 * B are samples, or tokens of a language model.
 */
export function calibrateLayer(pooled: Float32Array, shape: SideShape): ChannelAffine {
  const statistics = new TapStatistics({ ...shape, layers: 1 });
  const block = shape.kinds * shape.width;
  for (let start = 0; start < pooled.length; start += block) {
    statistics.add(pooled.subarray(start, start + block));
  }
  const { mean, scale } = statistics.deviation();
  const round = (x: number) => f16ToNumber(numberToF16(x));
  return { mean: mean.map(round), scale: scale.map(round) };
}

/** The same of all layers of a batch, whose taps `[B*K, D]` are held already: `[L, K, D]`. */
export function calibrate(pooled: readonly Float32Array[], shape: SideShape): ChannelAffine {
  return joinLayers(pooled.map((values) => calibrateLayer(values, shape)));
}

/** Layers' calibrations as one, `[L, K, D]`. */
export function joinLayers(layers: readonly ChannelAffine[]): ChannelAffine {
  const join = (key: keyof ChannelAffine) =>
    Float32Array.from(layers.flatMap((layer) => Array.from(layer[key])));
  return { mean: join('mean'), scale: join('scale') };
}

/**
 * The codec's bytes of a layer's pooled taps `[B*K, D]`: code = (value - mean) / scale, per channel,
 * in `bits`.
 * @param layer its place among those that are tapped
 */
export function encodeLayer(
  pooled: Float32Array,
  layer: number,
  { kinds, width }: SideShape,
  { bits, calibration }: TapCodec,
  backend: Backend,
): Uint8Array {
  const block = kinds * width;
  return scope(() => {
    const [mean, scale] = [calibration.mean, calibration.scale].map((all) =>
      tensor(all.subarray(layer * block, (layer + 1) * block), [kinds, width], { backend }),
    );
    const rows = tensor(pooled, [pooled.length / width, width], { backend });
    return encodeRows(rows, bits, { mean, scale });
  });
}

/** The same of all layers. */
export function encodePooled(
  pooled: readonly Float32Array[],
  shape: SideShape,
  codec: TapCodec,
  backend: Backend,
): Uint8Array[] {
  return pooled.map((values, layer) => encodeLayer(values, layer, shape, codec, backend));
}
