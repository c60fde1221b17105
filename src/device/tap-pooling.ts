import { rmsNormRows } from '../model/side/taps.ts';
import type { TapKind } from './tap-kinds.ts';

/**
 * Pools hidden states `[T, D]` of packed sequences to `[B*K, D]`, a sample's K rows together in
 * the order of `kinds`. Each token is RMS-normed first: else the attention sink at position 0,
 * with a norm a thousand times the others', would be the mean.
 * @param tail last tokens of a sequence over which `template` is the mean, at least 1
 */
export function poolTaps(
  hidden: Float32Array,
  lengths: readonly number[],
  width: number,
  kinds: readonly TapKind[],
  tail = 1,
): Float32Array {
  const out = new Float32Array(lengths.length * kinds.length * width);
  const token = new Float32Array(width);
  const normed = (t: number) => {
    token.set(hidden.subarray(t * width, (t + 1) * width));
    return rmsNormRows(token, width);
  };
  let start = 0;
  let to = 0;
  for (const length of lengths) {
    for (const kind of kinds) {
      const row = out.subarray(to, to + width);
      if (kind === 'last' || kind === 'first') {
        row.set(normed(kind === 'first' ? start : start + length - 1));
      } else {
        const tokens = kind === 'mean' ? length : Math.min(tail, length);
        for (let t = start + length - tokens; t < start + length; t++) {
          normed(t);
          for (let i = 0; i < width; i++) row[i] += token[i];
        }
        for (let i = 0; i < width; i++) row[i] /= tokens;
      }
      to += width;
    }
    start += length;
  }
  return out;
}

/** Rows `positions` of hidden states `[T, D]`, RMS-normed: `[R, D]`. */
export function takeTokens(
  hidden: Float32Array,
  positions: readonly number[],
  width: number,
): Float32Array {
  const out = new Float32Array(positions.length * width);
  positions.forEach((position, i) => {
    out.set(hidden.subarray(position * width, (position + 1) * width), i * width);
  });
  return rmsNormRows(out, width);
}
