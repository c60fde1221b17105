import { random, type Tensor, tensor } from '../../tensor/index.ts';
import type { SideShape } from './side-model.ts';

/** Projections of a sample, F: with half as many the kernel's noise costs a quarter of a point. */
const PROJECTIONS = 16384;

/** Features of a sample, M: a cosine and a sine of each projection. */
export const DIRECTION_FEATURES = 2 * PROJECTIONS;

/** Random signs, then a Hadamard matrix, so many times: of fewer, rows are not yet like normal ones. */
const ROUNDS = 3;

/** How a shape's samples are projected, from which all projections follow. */
interface Projection {
  /** P: the numbers of a sample, L*K*D, filled up to a power of two. */
  readonly size: number;
  /** ROUNDS times P signs for each P projections. */
  readonly signs: Int8Array;
}

/** Those in use by their size, from which they follow. */
const known = new Map<number, Projection>();

function projectionOf({ layers, kinds, width }: SideShape): Projection {
  const size = 2 ** Math.ceil(Math.log2(layers * kinds * width));
  const before = known.get(size);
  if (before) return before;
  const rng = random(0).fork('direction features');
  const count = Math.ceil(PROJECTIONS / size) * ROUNDS * size;
  const made = { size, signs: Int8Array.from({ length: count }, () => 1 - 2 * (rng.bits() & 1)) };
  known.set(size, made);
  return made;
}

/**
 * x H for the Hadamard matrix H_ij = (-1)^popcount(i & j), in place: P log P sums, those of two bits of
 * the index at once, which is a third faster than a bit at a time.
 */
export function hadamard(x: Float64Array): void {
  const size = x.length;
  let step = 1;
  for (; 4 * step <= size; step *= 4) {
    for (let start = 0; start < size; start += 4 * step) {
      for (let i = start; i < start + step; i++) {
        const sum = x[i] + x[i + step];
        const difference = x[i] - x[i + step];
        const sum2 = x[i + 2 * step] + x[i + 3 * step];
        const difference2 = x[i + 2 * step] - x[i + 3 * step];
        x[i] = sum + sum2;
        x[i + step] = difference + difference2;
        x[i + 2 * step] = sum - sum2;
        x[i + 3 * step] = difference - difference2;
      }
    }
  }
  for (let i = 0; step < size && i < step; i++) {
    const other = x[i + step];
    x[i + step] = x[i] - other;
    x[i] += other;
  }
}

/** Rows `[B*K, D]` of one layer, each at length 1 (a row of zeros stays). */
export function directions(tap: Tensor, width: number): Float32Array {
  const values = tap.toFloat32();
  for (let start = 0; start < values.length; start += width) {
    let squares = 0;
    for (let i = start; i < start + width; i++) squares += values[i] * values[i];
    const factor = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    for (let i = start; i < start + width; i++) values[i] *= factor;
  }
  return values;
}

/**
 * Random features whose products are a Gaussian kernel of the directions of taps (Rahimi and Recht
 * 2007): with x = [s_1 a_1/|a_1| .. s_LK a_LK/|a_LK|] of a sample's L*K taps,
 *
 *     f(x) = [cos(w_1 x) .. cos(w_F x) sin(w_1 x) .. sin(w_F x)] / sqrt(F),
 *     f(x) f(y)^T = exp(-|x - y|^2 / 2) + noise of less than 1 / sqrt(2 F)
 *
 * The w_j are the rows of sqrt(P) (H D_3 H D_2 H D_1) (Yu et al. 2016), H a Hadamard matrix over
 * sqrt(P), D_i random signs: as good as normal ones, but neither held nor multiplied. They follow from
 * the shape alone, so nothing of them is in an adapter.
 * @param taps A_1..A_L, each `[B*K, D]`
 * @param scales s `[L*K]`
 * @returns `[B, M]`, M = 2 F
 */
export function directionFeatures(
  taps: readonly Tensor[],
  scales: ArrayLike<number>,
  shape: SideShape,
): Tensor {
  const { kinds, width } = shape;
  const block = kinds * width;
  const { size, signs } = projectionOf(shape);
  const rows = taps.map((tap) => directions(tap, width));
  const samples = rows[0].length / block;
  const out = new Float32Array(samples * DIRECTION_FEATURES);
  const factor = 1 / Math.sqrt(PROJECTIONS);
  // sqrt(P) of the formula over the sqrt(P)^3 of three Hadamard matrices.
  const rescale = size ** ((1 - ROUNDS) / 2);
  const [x, z] = [new Float64Array(size), new Float64Array(size)];
  for (let b = 0; b < samples; b++) {
    rows.forEach((values, layer) => {
      for (let i = 0; i < block; i++) {
        const scale = scales[layer * kinds + Math.floor(i / width)];
        x[layer * block + i] = scale * values[b * block + i];
      }
    });
    for (let from = 0; from < PROJECTIONS; from += size) {
      z.set(x);
      for (let round = 0; round < ROUNDS; round++) {
        const first = from * ROUNDS + round * size;
        for (let i = 0; i < size; i++) z[i] *= signs[first + i];
        hadamard(z);
      }
      const row = b * DIRECTION_FEATURES + from;
      for (let j = 0; j < Math.min(size, PROJECTIONS - from); j++) {
        const angle = rescale * z[j];
        out[row + j] = factor * Math.cos(angle);
        out[row + PROJECTIONS + j] = factor * Math.sin(angle);
      }
    }
  }
  return tensor(out, [samples, DIRECTION_FEATURES], { backend: taps[0].backend });
}
