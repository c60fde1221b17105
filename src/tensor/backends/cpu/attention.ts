import type { Kernels } from '../../backend.ts';

/** Dot product of `d` elements from two places. */
function dot(a: Float32Array, aStart: number, b: Float32Array, bStart: number, d: number): number {
  let total = 0;
  for (let j = 0; j < d; j++) total += a[aStart + j] * b[bStart + j];
  return total;
}

/** `out[..] += factor * x[..]` over `d` elements. */
function addScaled(
  out: Float32Array | Float64Array,
  outStart: number,
  x: Float32Array,
  xStart: number,
  d: number,
  factor: number,
): void {
  for (let j = 0; j < d; j++) out[outStart + j] += factor * x[xStart + j];
}

/** Turns the first `n` scores into probabilities, in place. */
function softmaxInPlace(scores: Float64Array, n: number): void {
  let top = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < n; j++) top = Math.max(top, scores[j]);
  let total = 0;
  for (let j = 0; j < n; j++) {
    scores[j] = Math.exp(scores[j] - top);
    total += scores[j];
  }
  for (let j = 0; j < n; j++) scores[j] /= total;
}

/** Rows of the longest segment: the scratch for one query's scores. */
function longest(segments: Int32Array, count: number): number {
  let rows = 0;
  for (let s = 0; s < count; s++) rows = Math.max(rows, segments[2 * s + 1]);
  return rows;
}

/**
 * Scaled dot-product attention, one query row of one head at a time (Vaswani et al. 2017,
 * equation 1). Query head h reads key and value head `floor(h / (heads / kvHeads))` (grouped
 * queries, Ainslie et al. 2023).
 */
export const attentionKernels = {
  attention(
    out,
    q,
    k,
    v,
    kPast,
    vPast,
    past,
    segments,
    segmentCount,
    heads,
    kvHeads,
    headDim,
    scale,
    causal,
  ) {
    const group = heads / kvHeads;
    const probs = new Float64Array(past + longest(segments, segmentCount));
    const sums = new Float64Array(headDim);
    for (let s = 0; s < segmentCount; s++) {
      const start = segments[2 * s];
      const length = segments[2 * s + 1];
      for (let i = 0; i < length; i++)
        for (let h = 0; h < heads; h++) {
          const seen = causal ? i + 1 : length;
          const qAt = ((start + i) * heads + h) * headDim;
          const kvHead = Math.floor(h / group);
          const pastAt = (row: number) => (row * kvHeads + kvHead) * headDim;
          const ownAt = (row: number) => ((start + row) * kvHeads + kvHead) * headDim;
          for (let j = 0; j < past; j++) probs[j] = scale * dot(q, qAt, kPast, pastAt(j), headDim);
          for (let j = 0; j < seen; j++) {
            probs[past + j] = scale * dot(q, qAt, k, ownAt(j), headDim);
          }
          softmaxInPlace(probs, past + seen);
          sums.fill(0);
          for (let j = 0; j < past; j++) addScaled(sums, 0, vPast, pastAt(j), headDim, probs[j]);
          for (let j = 0; j < seen; j++) addScaled(sums, 0, v, ownAt(j), headDim, probs[past + j]);
          for (let j = 0; j < headDim; j++) out[qAt + j] = sums[j];
        }
    }
  },
  attentionGrad(
    dq,
    dk,
    dv,
    q,
    k,
    v,
    dy,
    segments,
    segmentCount,
    heads,
    kvHeads,
    headDim,
    scale,
    causal,
  ) {
    const group = heads / kvHeads;
    const probs = new Float64Array(longest(segments, segmentCount));
    const dProbs = new Float64Array(probs.length);
    for (let s = 0; s < segmentCount; s++) {
      const start = segments[2 * s];
      const length = segments[2 * s + 1];
      const end = start + length;
      dq.fill(0, start * heads * headDim, end * heads * headDim);
      dk.fill(0, start * kvHeads * headDim, end * kvHeads * headDim);
      dv.fill(0, start * kvHeads * headDim, end * kvHeads * headDim);
      for (let i = 0; i < length; i++)
        for (let h = 0; h < heads; h++) {
          const seen = causal ? i + 1 : length;
          const qAt = ((start + i) * heads + h) * headDim;
          const kvHead = Math.floor(h / group);
          const kvAt = (row: number) => ((start + row) * kvHeads + kvHead) * headDim;
          // The probabilities are computed again: keeping them would take T x T per head.
          for (let j = 0; j < seen; j++) probs[j] = scale * dot(q, qAt, k, kvAt(j), headDim);
          softmaxInPlace(probs, seen);
          let mean = 0;
          for (let j = 0; j < seen; j++) {
            dProbs[j] = dot(dy, qAt, v, kvAt(j), headDim);
            mean += dProbs[j] * probs[j];
          }
          for (let j = 0; j < seen; j++) {
            const dScore = probs[j] * (dProbs[j] - mean) * scale;
            addScaled(dq, qAt, k, kvAt(j), headDim, dScore);
            addScaled(dk, kvAt(j), q, qAt, headDim, dScore);
            addScaled(dv, kvAt(j), dy, qAt, headDim, probs[j]);
          }
        }
    }
  },
} satisfies Partial<Kernels>;
