import { type ActivationBits, encodeInto } from '../codec.ts';

/** Scalar twin of `encodeRows`: standardized in f64, rounded to f32, then the codec. */
export function encodeRowsRef(
  out: Uint8Array,
  x: Float32Array,
  mean: Float32Array | null,
  scale: Float32Array | null,
  rows: number,
  width: number,
  kinds: number,
  bits: ActivationBits,
): void {
  if (mean && scale) {
    const block = kinds * width;
    for (let i = 0; i < rows * width; i++) x[i] = (x[i] - mean[i % block]) / scale[i % block];
  }
  encodeInto(out, x, rows, width, bits);
}
