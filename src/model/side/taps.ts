import { type ActivationBits, decodeActivations } from '../../quant/index.ts';
import { type Backend, type Tensor, tensor } from '../../tensor/index.ts';
import { SIDE_RMS_EPS } from './parallel.ts';
import type { SideShape } from './side-model.ts';

/** Keeps a channel that never varies from being blown up. */
const DEVIATION_EPS = 1e-3;

/**
 * Mean and deviation of every channel of the RMS-normed taps, a set for each layer and kind:
 * what taps are standardised with. Running (Welford's method), so that training starts with the
 * first batch; frozen once the training rows are all in.
 */
export class TapStatistics {
  readonly shape: SideShape;
  /** Samples seen. */
  count = 0;
  /** `[L, K, D]` row-major. */
  readonly mean: Float64Array;
  private readonly squares: Float64Array;

  constructor(shape: SideShape) {
    this.shape = shape;
    const numel = shape.layers * shape.kinds * shape.width;
    this.mean = new Float64Array(numel);
    this.squares = new Float64Array(numel);
  }

  /** Takes in one sample's normed taps: for each layer its K rows, `[L, K, D]`. */
  add(normed: Float32Array): void {
    const n = ++this.count;
    for (let i = 0; i < normed.length; i++) {
      const before = normed[i] - this.mean[i];
      this.mean[i] += before / n;
      this.squares[i] += before * (normed[i] - this.mean[i]);
    }
  }

  /** What to subtract and to multiply with, rounded to f32 as the adapter file keeps them. */
  standardizer(): Standardizer {
    const mean = Float32Array.from(this.mean);
    const scale = new Float32Array(mean.length);
    for (let i = 0; i < scale.length; i++) {
      const deviation = Math.sqrt(this.squares[i] / Math.max(1, this.count));
      scale[i] = 1 / (deviation + DEVIATION_EPS);
    }
    return { mean, scale };
  }
}

/** A = (rms(h) - mean) * scale per channel; both `[L, K, D]`. */
export interface Standardizer {
  readonly mean: Float32Array;
  readonly scale: Float32Array;
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

/**
 * Tensors A_1..A_L `[B*K, D]` for a side model from normed samples (each `[L, K, D]`).
 */
export function tapTensors(
  samples: readonly Float32Array[],
  shape: SideShape,
  standardizer: Standardizer,
  backend: Backend,
): Tensor[] {
  const { layers, kinds, width } = shape;
  const block = kinds * width;
  const { mean, scale } = standardizer;
  return Array.from({ length: layers }, (_, layer) => {
    const values = new Float32Array(samples.length * block);
    const from = layer * block;
    samples.forEach((sample, b) => {
      const to = b * block;
      for (let i = 0; i < block; i++) {
        values[to + i] = (sample[from + i] - mean[from + i]) * scale[from + i];
      }
    });
    return tensor(values, [samples.length * kinds, width], { backend });
  });
}

/**
 * What arrives on the wire back to samples: per tapped layer the codec's bytes of `[B*K, D]`, to B
 * RMS-normed samples `[L, K, D]`.
 */
export function decodeTaps(
  taps: readonly Uint8Array[],
  samples: number,
  shape: SideShape,
  bits: ActivationBits,
): Float32Array[] {
  const { layers, kinds, width } = shape;
  const block = kinds * width;
  const out = Array.from({ length: samples }, () => new Float32Array(layers * block));
  taps.forEach((bytes, layer) => {
    const rows = rmsNormRows(decodeActivations(bytes, samples * kinds, width, bits), width);
    out.forEach((sample, b) => {
      sample.set(rows.subarray(b * block, (b + 1) * block), layer * block);
    });
  });
  return out;
}
