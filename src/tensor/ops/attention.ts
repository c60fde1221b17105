import { isTracked, record } from '../autograd.ts';
import { BackendError, ShapeError } from '../errors.ts';
import { formatShape, sameShape } from '../shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor.ts';
import { expectRank } from './launch.ts';

/** Keys and values every segment sees before its own: a KV cache. */
export interface AttentionPast {
  /** `[>= length, kvHeads, headDim]`. */
  readonly k: Tensor;
  /** `[>= length, kvHeads, headDim]`. */
  readonly v: Tensor;
  /** Rows in use. */
  readonly length: number;
}

/** Where sequences begin and end, and what their tokens see. */
export interface AttentionOptions {
  /**
   * i32 `[S, 2]`: first row and number of rows of each packed sequence. Together they are the rows
   * 0..T-1, in order.
   */
  readonly segments: Tensor;
  /** Factor of the scores; 1 / sqrt(headDim) by default. */
  readonly scale?: number;
  /** Whether a token sees only itself and tokens before it. */
  readonly causal: boolean;
  readonly past?: AttentionPast;
}

/** @throws ShapeError unless the segments are rows 0..T-1 in order */
function expectSegments(segments: Tensor, rows: number): void {
  expectDType('attention', 'i32', segments);
  if (segments.rank !== 2 || segments.shape[1] !== 2) {
    throw new ShapeError(`attention: segments must be [S,2], got ${formatShape(segments.shape)}`);
  }
  const values = segments.toArray();
  let next = 0;
  for (let s = 0; s < values.length; s += 2) {
    const [start, length] = [values[s], values[s + 1]];
    if (start !== next || length < 0) {
      throw new ShapeError(
        `attention: segment ${s / 2} is rows ${start} + ${length}, expected to start at ${next}`,
      );
    }
    next += length;
  }
  if (next !== rows) throw new ShapeError(`attention: segments cover ${next} of ${rows} rows`);
}

/** @throws ShapeError unless heads, widths and row counts agree */
function expectHeads(q: Tensor, k: Tensor, v: Tensor): void {
  expectRank('attention', q, 3, 'q');
  expectRank('attention', k, 3, 'k');
  const fits =
    sameShape(k.shape, v.shape) &&
    q.shape[0] === k.shape[0] &&
    q.shape[2] === k.shape[2] &&
    k.shape[1] > 0 &&
    q.shape[1] % k.shape[1] === 0;
  if (!fits) {
    throw new ShapeError(
      `attention: q ${formatShape(q.shape)}, k ${formatShape(k.shape)}, v ${formatShape(v.shape)}`,
    );
  }
}

/** @throws ShapeError unless the cache holds what it says, in the form of k */
function expectPast(past: AttentionPast, k: Tensor): void {
  expectDType('attention', 'f32', past.k, past.v);
  for (const cache of [past.k, past.v]) {
    const [rows, kvHeads, headDim] = cache.shape;
    const fits = cache.rank === 3 && kvHeads === k.shape[1] && headDim === k.shape[2];
    if (!fits || !Number.isInteger(past.length) || past.length < 0 || past.length > rows) {
      throw new ShapeError(
        `attention: past of ${past.length} rows in ${formatShape(cache.shape)}, k ${formatShape(k.shape)}`,
      );
    }
  }
}

/**
 * Scaled dot-product attention over packed sequences, with grouped queries:
 * `softmax(scale * q k^T) v` within each segment (Vaswani et al. 2017, equation 1; Ainslie et al.
 * 2023). q `[T, H, headDim]`; k, v `[T, kvHeads, headDim]`, H a multiple of kvHeads; out as q. No
 * `T x T` matrix is kept, also not for the gradient.
 * @throws ShapeError when shapes or segments do not fit
 * @throws BackendError when a gradient is wanted through a past
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { segments, causal, past } = options;
  expectDType('attention', 'f32', q, k, v);
  const caches = past ? [past.k, past.v] : [];
  const { kernels, nil } = commonBackend('attention', q, k, v, segments, ...caches);
  expectHeads(q, k, v);
  expectSegments(segments, q.shape[0]);
  if (past) expectPast(past, k);
  if (past && isTracked(q, k, v, ...caches)) {
    throw new BackendError('attention: there is no gradient through a past');
  }
  const [, heads, headDim] = q.shape;
  const kvHeads = k.shape[1];
  const segmentCount = segments.shape[0];
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  const out = Tensor.empty(q.shape, 'f32', q.backend);
  kernels.attention(
    out.handle,
    q.handle,
    k.handle,
    v.handle,
    past ? past.k.handle : nil,
    past ? past.v.handle : nil,
    past ? past.length : 0,
    segments.handle,
    segmentCount,
    heads,
    kvHeads,
    headDim,
    scale,
    causal ? 1 : 0,
  );
  return record(out, [q, k, v], (dy) => {
    const dq = Tensor.empty(q.shape, 'f32', q.backend);
    const dk = Tensor.empty(k.shape, 'f32', q.backend);
    const dv = Tensor.empty(v.shape, 'f32', q.backend);
    kernels.attentionGrad(
      dq.handle,
      dk.handle,
      dv.handle,
      q.handle,
      k.handle,
      v.handle,
      dy.handle,
      segments.handle,
      segmentCount,
      heads,
      kvHeads,
      headDim,
      scale,
      causal ? 1 : 0,
    );
    return [dq, dk, dv];
  });
}
