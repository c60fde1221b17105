import type { SideShape } from './side-model.ts';

/** Keeps a channel that never varies from being blown up; taps are RMS-normed, so of size 1. */
const DEVIATION_EPS = 1e-3;

/** An offset and a factor for every channel, both `[L, K, D]`. */
export interface ChannelAffine {
  readonly mean: Float32Array;
  readonly scale: Float32Array;
}

/**
 * Running mean and deviation (Welford 1962) of every channel of RMS-normed taps, a set for each
 * layer and kind. The device calibrates the codec with those of its first batch; the server
 * standardises with those of all training rows, from the first batch on with the rows so far.
 */
export class TapStatistics {
  /** Samples seen. */
  count = 0;
  private readonly mean: Float64Array;
  private readonly squares: Float64Array;

  constructor(shape: SideShape) {
    const numel = shape.layers * shape.kinds * shape.width;
    this.mean = new Float64Array(numel);
    this.squares = new Float64Array(numel);
  }

  /** Takes in one sample `[L, K, D]`. */
  add(sample: Float32Array): void {
    const n = ++this.count;
    for (let i = 0; i < sample.length; i++) {
      const before = sample[i] - this.mean[i];
      this.mean[i] += before / n;
      this.squares[i] += before * (sample[i] - this.mean[i]);
    }
  }

  /** Mean, and deviation + eps, of every channel. */
  deviation(): ChannelAffine {
    const scale = Float32Array.from(
      this.squares,
      (sum) => Math.sqrt(sum / Math.max(1, this.count)) + DEVIATION_EPS,
    );
    return { mean: Float32Array.from(this.mean), scale };
  }

  /**
   * What standardises: A = (x - mean) * scale, scale = 1 / (deviation + eps); 0 of a channel that never
   * varies, where a backend's rounding of x would be all there is, and AdamW would follow it.
   */
  standardizer(): ChannelAffine {
    const { mean, scale } = this.deviation();
    return { mean, scale: scale.map((deviation, i) => (this.squares[i] > 0 ? 1 / deviation : 0)) };
  }
}
