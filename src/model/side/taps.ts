import { type ActivationBits, decodeActivations, encodedLength } from '../../quant/index.ts';
import { type Backend, type Random, type Tensor, tensor } from '../../tensor/index.ts';
import { SIDE_RMS_EPS } from './parallel.ts';
import type { SideShape } from './side-model.ts';
import type { ChannelAffine } from './tap-statistics.ts';

/** How taps are held in few bits: what a receiver needs to read them. */
export interface TapCodec {
  readonly bits: ActivationBits;
  /**
   * Value = mean + scale * code, per channel `[L, K, D]`. Backbones have channels far from zero and
   * fifty times larger than their neighbours, which would take a group's whole range: with one
   * scale a group alone, 4 bits cost a probe on WordNet-10 1.1 points, with this nothing.
   */
  readonly calibration: ChannelAffine;
}

/** Weightless RMS norm of every row of width D, in place. */
export function rmsNormRows(values: Float32Array, width: number): Float32Array {
  for (let start = 0; start < values.length; start += width) {
    let squares = 0;
    for (let i = start; i < start + width; i++) squares += values[i] * values[i];
    const rstd = 1 / Math.sqrt(squares / width + SIDE_RMS_EPS);
    for (let i = start; i < start + width; i++) values[i] *= rstd;
  }
  return values;
}

/** Per-layer batches `[B*K, D]` cut into B samples `[L, K, D]`; works on numbers and on bytes alike. */
export function layersToSamples<T extends Float32Array | Uint8Array>(
  layers: readonly T[],
  samples: number,
): T[] {
  const block = layers[0].length / samples;
  const Make = layers[0].constructor as new (length: number) => T;
  return Array.from({ length: samples }, (_, b) => {
    const sample = new Make(layers.length * block);
    layers.forEach((batch, layer) => {
      sample.set(batch.subarray(b * block, (b + 1) * block), layer * block);
    });
    return sample;
  });
}

/** Bytes of one sample's encoded taps. */
export function sampleBytes(shape: SideShape, bits: ActivationBits): number {
  return encodedLength(shape.layers * shape.kinds, shape.width, bits);
}

/** A sample as received, to RMS-normed taps `[L, K, D]`. @throws FormatError for a wrong length */
export function decodeSample(bytes: Uint8Array, shape: SideShape, codec: TapCodec): Float32Array {
  const { layers, kinds, width } = shape;
  const values = decodeActivations(bytes, layers * kinds, width, codec.bits);
  const { mean, scale } = codec.calibration;
  for (let i = 0; i < values.length; i++) values[i] = mean[i] + scale[i] * values[i];
  return rmsNormRows(values, width);
}

/** Numbers zeroed by chance in a training step (Srivastava et al. 2014, the inverted form). */
export interface TapDropout {
  /** Share that is zeroed, below 1; the rest is scaled by 1 / (1 - rate). */
  readonly rate: number;
  readonly rng: Random;
}

/**
 * Tensors A_1..A_L `[B*K, D]` for a side model: samples `[L, K, D]`, standardised per channel, and
 * in training perhaps with dropout. It is done to the numbers and not by an op, so every backend
 * drops the same. Of a language model the last layer's rows as they are follow, `[B, D]`.
 */
export function tapTensors(
  samples: readonly Float32Array[],
  shape: SideShape,
  standardizer: ChannelAffine,
  backend: Backend,
  dropout?: TapDropout,
): Tensor[] {
  const { layers, kinds, width } = shape;
  const block = kinds * width;
  const { mean, scale } = standardizer;
  const rows = samples.length * kinds;
  const taps = Array.from({ length: layers }, (_, layer) => {
    const values = new Float32Array(samples.length * block);
    const from = layer * block;
    samples.forEach((sample, b) => {
      const to = b * block;
      for (let i = 0; i < block; i++) {
        values[to + i] = (sample[from + i] - mean[from + i]) * scale[from + i];
      }
    });
    if (dropout) drop(values, dropout);
    return tensor(values, [rows, width], { backend });
  });
  if (shape.classes > 0) return taps;
  const last = new Float32Array(rows * width);
  samples.forEach((sample, b) => {
    last.set(sample.subarray((layers - 1) * block), b * block);
  });
  return [...taps, tensor(last, [rows, width], { backend })];
}

function drop(values: Float32Array, { rate, rng }: TapDropout): void {
  const kept = 1 / (1 - rate);
  for (let i = 0; i < values.length; i++) values[i] = rng.uniform() < rate ? 0 : values[i] * kept;
}
