import { matmul, scope, type Tensor, tensor } from '../../tensor/index.ts';
import { directions } from './direction-features.ts';
import type { SideShape } from './side-model.ts';

/** Sharpens weights: 0 gives each tap the same, 8 cost accuracy where all taps say little. */
const POWER = 4;

/**
 * How much each tap counts, by how well its kernel agrees with what is to be foretold (centred kernel
 * alignment, Cortes et al. 2012): of centred directions X_b `[n, D]` and centred targets Y `[n, C]`
 *
 *     a_b = |X_b^T Y|^2 / (|X_b^T X_b| |Y^T Y|),   w_b = a_b^4 / sum a^4
 *
 * with Frobenius norms, which is the cosine between the matrices X_b X_b^T and Y Y^T.
 * @param taps A_1..A_L, each `[n*K, D]`
 * @param targets Y, centred
 * @returns w `[L*K]`, layer by layer; all alike where nothing agrees
 */
export function alignmentWeights(
  taps: readonly Tensor[],
  targets: Float64Array,
  shape: SideShape,
): Float64Array {
  const { kinds, width, classes } = shape;
  const { backend } = taps[0];
  const n = targets.length / classes;
  const alignments = scope(() => {
    const wanted = tensor(Float32Array.from(targets), [n, classes], { backend });
    const inner = norm(matmul(wanted, wanted, { transA: true }));
    return taps.flatMap((tap) => {
      const rows = directions(tap, width);
      return Array.from({ length: kinds }, (_, kind) =>
        scope(() => {
          const x = tensor(centredKind(rows, kind, kinds, width), [n, width], { backend });
          const agreement = norm(matmul(x, wanted, { transA: true })) ** 2;
          const size = norm(matmul(x, x, { transA: true })) * inner;
          return size > 0 ? agreement / size : 0;
        }),
      );
    });
  });
  const best = Math.max(...alignments);
  const weights = Float64Array.from(alignments, (a) => (best > 0 ? (a / best) ** POWER : 1));
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}

function norm(x: Tensor): number {
  return Math.sqrt(x.toFloat32().reduce((sum, value) => sum + value * value, 0));
}

/** The rows of one kind `[n, D]` out of `[n*K, D]`, less their mean. */
function centredKind(rows: Float32Array, kind: number, kinds: number, width: number): Float32Array {
  const n = rows.length / (kinds * width);
  const out = new Float32Array(n * width);
  for (let i = 0; i < n; i++) {
    const from = (i * kinds + kind) * width;
    out.set(rows.subarray(from, from + width), i * width);
  }
  for (let d = 0; d < width; d++) {
    let sum = 0;
    for (let i = d; i < out.length; i += width) sum += out[i];
    for (let i = d; i < out.length; i += width) out[i] -= sum / n;
  }
  return out;
}
