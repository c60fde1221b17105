const fround = Math.fround;

/** 1.5 * 2^23: adding it leaves the nearest integer, ties to even, in an f32's low bits. */
const ROUNDER = 12_582_912;

/** 2^-100: below it 127 / absmax nears f32's limit. */
export const SMALLEST_ABSMAX = 2 ** -100;

/** Scalar twin of `quantizeRowsQd8`: x [R,K] to data [R,Kp], scales [R,groups], sums [R,Kp/32]. */
export function quantizeRowsQd8Ref(
  data: Int8Array,
  scales: Float32Array,
  sums: Int32Array,
  x: Float32Array,
  rows: number,
  k: number,
  kp: number,
  groupSize: number,
): void {
  const groups = Math.ceil(kp / groupSize);
  const blocks = kp / 32;
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) {
      const start = group * groupSize;
      const end = Math.min(k, start + groupSize);
      let absmax = 0;
      for (let i = start; i < end; i++) absmax = Math.max(absmax, Math.abs(x[row * k + i]));
      const finite = absmax < Number.POSITIVE_INFINITY;
      const usable = finite && absmax >= SMALLEST_ABSMAX;
      const inverse = usable ? fround(127 / absmax) : 0;
      scales[row * groups + group] = finite ? (usable ? fround(absmax / 127) : 0) : Number.NaN;
      const paddedEnd = Math.min(kp, start + groupSize);
      for (let i = start; i < paddedEnd; i++) {
        data[row * kp + i] =
          usable && i < end
            ? fround(fround(fround(x[row * k + i] * inverse) + ROUNDER) - ROUNDER)
            : 0;
      }
    }
    for (let block = 0; block < blocks; block++) {
      let sum = 0;
      for (let i = 0; i < 32; i++) sum += data[row * kp + block * 32 + i];
      sums[row * blocks + block] = sum;
    }
  }
}
