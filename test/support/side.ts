import type { ChannelAffine, SideOptions, SideShape } from '../../src/model/index.ts';
import { type Random, random } from '../../src/tensor/index.ts';

/** What side models are built from where a test does not care. */
export const SIDE_OPTIONS: SideOptions = {
  rank: 3,
  alphaStart: 0,
  gateRate: 1,
  head: 'dense',
  tapDropout: 0.5,
};

/** Values `[L, K, D]` of one sample, normal; channels of unlike size where `scales` says so. */
export function sampleTaps(shape: SideShape, rng: Random): Float32Array {
  const numel = shape.layers * shape.kinds * shape.width;
  return Float32Array.from({ length: numel }, () => rng.normal());
}

/** A mean and a scale for every channel, away from 0. */
export function channelAffine(shape: SideShape, seed: number): ChannelAffine {
  const rng = random(seed).fork('channels');
  const numel = shape.layers * shape.kinds * shape.width;
  return {
    mean: Float32Array.from({ length: numel }, () => rng.normal()),
    scale: Float32Array.from({ length: numel }, () => rng.uniform(0.5, 2)),
  };
}

/** A calibration that changes nothing: mean 0, scale 1. */
export function plainAffine(shape: SideShape): ChannelAffine {
  const numel = shape.layers * shape.kinds * shape.width;
  return { mean: new Float32Array(numel), scale: new Float32Array(numel).fill(1) };
}
