// Attention by tiles of scores [QUERIES, KEYS] with a running maximum and sum (the online softmax
// of Milakov & Gimelshein 2018; tiling as in FlashAttention, Dao et al. 2022): no matrix of all
// scores is ever held, so no length is too long.
import {
  KEYS, QUERIES, SCRATCH_DOT, SCRATCH_DSCORES, SCRATCH_MAX, SCRATCH_SCORES, SCRATCH_SUM,
} from './layout';
import { exp4, expBelow4, loadTail, madd, maxLanes, storeTail, sumLanes } from './math';
import { scaleRow } from './norm';
import { dot, productDots, productPanel, productRows } from './tiles';

/** Bytes from one query's scores to the next's. */
const LD: usize = 256;

function expOf(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
}

/** Largest of x[i] * scale, or `least` when all are smaller. */
function maxScaled(x: usize, n: i32, scale: f32, least: f32): f32 {
  const scales = f32x4.splat(scale);
  let best = f32x4.splat(least);
  const end = x + (<usize>(n & ~3) << 2);
  for (; x < end; x += 16) best = f32x4.pmax(best, f32x4.mul(v128.load(x), scales));
  let result = maxLanes(best);
  for (let rest = n & 3; rest > 0; rest--, x += 4) result = max<f32>(result, load<f32>(x) * scale);
  return result;
}

/** x[i] = e^(x[i] * scale - shift) in place, no exponent above 0; returns the sum. */
function expScaled(x: usize, n: i32, scale: f32, shift: f32): f32 {
  const scales = f32x4.splat(scale);
  const shifts = f32x4.splat(-shift);
  let s = f32x4.splat(0);
  const end = x + (<usize>(n & ~3) << 2);
  for (; x < end; x += 16) {
    const y = expBelow4(madd(v128.load(x), scales, shifts));
    v128.store(x, y);
    s = f32x4.add(s, y);
  }
  let total = sumLanes(s);
  const rest = n & 3;
  if (rest) {
    const y = expBelow4(madd(loadTail(x, rest), scales, shifts));
    storeTail(x, y, rest);
    for (let i = 0; i < rest; i++, x += 4) total += load<f32>(x);
  }
  return total;
}

/** How many of the `keys` from key `first` on query `query` of its segment may see. */
function visible(query: i32, first: i32, keys: i32, causal: bool): i32 {
  return causal ? max(0, min(keys, query + 1 - first)) : keys;
}

/** Adds the keys 0..count to the running softmax of `queries` queries of one head. */
function attend(
  out: usize, q: usize, ldq: usize, k: usize, v: usize, ldk: usize,
  query0: i32, queries: i32, count: i32, headDim: i32, scale: f32, causal: bool,
): void {
  for (let first = 0; first < count; first += KEYS) {
    const keys = min(KEYS, count - first);
    const at = <usize>first * ldk;
    productDots(SCRATCH_SCORES, LD, q, ldq, k + at, ldk, queries, keys, headDim);
    for (let r = 0; r < queries; r++) {
      const scores = SCRATCH_SCORES + <usize>r * LD;
      const seen = visible(query0 + r, first, keys, causal);
      if (seen < keys) {
        memory.fill(scores + (<usize>seen << 2), 0, <usize>(keys - seen) << 2);
        if (seen == 0) continue;
      }
      const pMax = SCRATCH_MAX + (<usize>r << 2);
      const pSum = SCRATCH_SUM + (<usize>r << 2);
      const before = load<f32>(pMax);
      const peak = maxScaled(scores, seen, scale, before);
      let total = load<f32>(pSum);
      if (peak != before) {
        store<f32>(pMax, peak);
        const shrink = expOf(before - peak);
        total *= shrink;
        if (before != -Infinity) scaleRow(out + <usize>r * ldq, headDim, shrink);
      }
      store<f32>(pSum, total + expScaled(scores, seen, scale, peak));
    }
    productRows(out, ldq, SCRATCH_SCORES, LD, v + at, ldk, queries, headDim, keys, true);
  }
}

/** Tiles of queries that an attention comes to: what threads share out among them. */
export function attentionTiles(segments: usize, segmentCount: i32, heads: i32): i32 {
  let tiles = 0;
  for (let s = 0; s < segmentCount; s++) {
    tiles += (load<i32>(segments + (<usize>s << 3), 4) + QUERIES - 1) / QUERIES;
  }
  return tiles * heads;
}

export function attention(
  out: usize, q: usize, k: usize, v: usize, kPast: usize, vPast: usize, past: i32,
  segments: usize, segmentCount: i32, heads: i32, kvHeads: i32, headDim: i32,
  scale: f32, causal: i32,
): void {
  attentionPart(
    out, q, k, v, kPast, vPast, past, segments, segmentCount, heads, kvHeads, headDim, scale, causal,
    0, i32.MAX_VALUE,
  );
}

/** The tiles `skip .. skip + tiles` of `attention`, counted by segments, heads and queries. */
export function attentionPart(
  out: usize, q: usize, k: usize, v: usize, kPast: usize, vPast: usize, past: i32,
  segments: usize, segmentCount: i32, heads: i32, kvHeads: i32, headDim: i32,
  scale: f32, causal: i32, skip: i32, tiles: i32,
): void {
  const head = <usize>headDim << 2;
  const ldq = head * <usize>heads;
  const ldk = head * <usize>kvHeads;
  const group = heads / kvHeads;
  let tile = 0;
  for (let s = 0; s < segmentCount; s++) {
    const start = load<i32>(segments + (<usize>s << 3));
    const length = load<i32>(segments + (<usize>s << 3), 4);
    for (let h = 0; h < heads; h++) {
      const kv = head * <usize>(h / group);
      const segment = <usize>start * ldk + kv;
      for (let query = 0; query < length; query += QUERIES, tile++) {
        if (tile < skip || tile - skip >= tiles) continue;
        const queries = min(QUERIES, length - query);
        const at = <usize>(start + query) * ldq + head * <usize>h;
        for (let r = 0; r < queries; r++) {
          store<f32>(SCRATCH_MAX + (<usize>r << 2), -Infinity);
          store<f32>(SCRATCH_SUM + (<usize>r << 2), 0);
          memory.fill(out + at + <usize>r * ldq, 0, head);
        }
        attend(
          out + at, q + at, ldq, kPast + kv, vPast + kv, ldk,
          query, queries, past, headDim, scale, false,
        );
        attend(
          out + at, q + at, ldq, k + segment, v + segment, ldk,
          query, queries, causal ? query + queries : length, headDim, scale, causal != 0,
        );
        for (let r = 0; r < queries; r++) {
          scaleRow(out + at + <usize>r * ldq, headDim, 1 / load<f32>(SCRATCH_SUM + (<usize>r << 2)));
        }
      }
    }
  }
}

/** Maximum and sum of each query's softmax, and its dot = sum(P dP) = dy . out. */
function statistics(
  q: usize, dy: usize, ldq: usize, k: usize, v: usize, ldk: usize,
  query0: i32, queries: i32, count: i32, headDim: i32, scale: f32, causal: bool,
): void {
  for (let r = 0; r < queries; r++) {
    store<f32>(SCRATCH_MAX + (<usize>r << 2), -Infinity);
    store<f32>(SCRATCH_SUM + (<usize>r << 2), 0);
    store<f32>(SCRATCH_DOT + (<usize>r << 2), 0);
  }
  for (let first = 0; first < count; first += KEYS) {
    const keys = min(KEYS, count - first);
    const at = <usize>first * ldk;
    productDots(SCRATCH_SCORES, LD, q, ldq, k + at, ldk, queries, keys, headDim);
    productDots(SCRATCH_DSCORES, LD, dy, ldq, v + at, ldk, queries, keys, headDim);
    for (let r = 0; r < queries; r++) {
      const seen = visible(query0 + r, first, keys, causal);
      if (seen == 0) continue;
      const scores = SCRATCH_SCORES + <usize>r * LD;
      const pMax = SCRATCH_MAX + (<usize>r << 2);
      const before = load<f32>(pMax);
      const peak = maxScaled(scores, seen, scale, before);
      const shrink = expOf(before - peak);
      store<f32>(pMax, peak);
      const pSum = SCRATCH_SUM + (<usize>r << 2);
      store<f32>(pSum, load<f32>(pSum) * shrink + expScaled(scores, seen, scale, peak));
      const pDot = SCRATCH_DOT + (<usize>r << 2);
      const more = dot(scores, SCRATCH_DSCORES + <usize>r * LD, seen);
      store<f32>(pDot, load<f32>(pDot) * shrink + more);
    }
  }
}

/** dScores = P (dP - dot) scale over one row, in place of dP; P itself in place of the scores. */
function gradRow(p: usize, dp: usize, n: i32, inverseSum: f32, rowDot: f32, scale: f32): void {
  const inverse = f32x4.splat(inverseSum);
  const dots = f32x4.splat(rowDot);
  const scales = f32x4.splat(scale);
  const end = p + (<usize>(n & ~3) << 2);
  for (; p < end; p += 16, dp += 16) {
    const y = f32x4.mul(v128.load(p), inverse);
    v128.store(p, y);
    v128.store(dp, f32x4.mul(f32x4.mul(y, f32x4.sub(v128.load(dp), dots)), scales));
  }
  const rest = n & 3;
  if (rest) {
    const y = f32x4.mul(loadTail(p, rest), inverse);
    storeTail(p, y, rest);
    storeTail(dp, f32x4.mul(f32x4.mul(y, f32x4.sub(loadTail(dp, rest), dots)), scales), rest);
  }
}

/** Adds to dq, dk, dv what `queries` queries of one head give. */
function attendGrad(
  dq: usize, dk: usize, dv: usize, q: usize, k: usize, v: usize, dy: usize, ldq: usize, ldk: usize,
  query0: i32, queries: i32, count: i32, headDim: i32, scale: f32, causal: bool,
): void {
  statistics(q, dy, ldq, k, v, ldk, query0, queries, count, headDim, scale, causal);
  for (let first = 0; first < count; first += KEYS) {
    const keys = min(KEYS, count - first);
    const at = <usize>first * ldk;
    productDots(SCRATCH_SCORES, LD, q, ldq, k + at, ldk, queries, keys, headDim);
    productDots(SCRATCH_DSCORES, LD, dy, ldq, v + at, ldk, queries, keys, headDim);
    for (let r = 0; r < queries; r++) {
      const p = SCRATCH_SCORES + <usize>r * LD;
      const dp = SCRATCH_DSCORES + <usize>r * LD;
      const seen = visible(query0 + r, first, keys, causal);
      if (seen < keys) {
        memory.fill(p + (<usize>seen << 2), 0, <usize>(keys - seen) << 2);
        memory.fill(dp + (<usize>seen << 2), 0, <usize>(keys - seen) << 2);
      }
      const inverse: f32 = 1 / load<f32>(SCRATCH_SUM + (<usize>r << 2));
      expScaled(p, seen, scale, load<f32>(SCRATCH_MAX + (<usize>r << 2)));
      gradRow(p, dp, seen, inverse, load<f32>(SCRATCH_DOT + (<usize>r << 2)) * inverse, scale);
    }
    productPanel(dv + at, ldk, SCRATCH_SCORES, LD, dy, ldq, keys, headDim, queries, true);
    productPanel(dk + at, ldk, SCRATCH_DSCORES, LD, q, ldq, keys, headDim, queries, true);
    productRows(dq, ldq, SCRATCH_DSCORES, LD, k + at, ldk, queries, headDim, keys, true);
  }
}

export function attentionGrad(
  dq: usize, dk: usize, dv: usize, q: usize, k: usize, v: usize, dy: usize,
  segments: usize, segmentCount: i32, heads: i32, kvHeads: i32, headDim: i32,
  scale: f32, causal: i32,
): void {
  const head = <usize>headDim << 2;
  const ldq = head * <usize>heads;
  const ldk = head * <usize>kvHeads;
  const group = heads / kvHeads;
  for (let s = 0; s < segmentCount; s++) {
    const start = load<i32>(segments + (<usize>s << 3));
    const length = load<i32>(segments + (<usize>s << 3), 4);
    memory.fill(dq + <usize>start * ldq, 0, <usize>length * ldq);
    memory.fill(dk + <usize>start * ldk, 0, <usize>length * ldk);
    memory.fill(dv + <usize>start * ldk, 0, <usize>length * ldk);
    for (let h = 0; h < heads; h++) {
      const kv = <usize>start * ldk + head * <usize>(h / group);
      for (let query = 0; query < length; query += QUERIES) {
        const queries = min(QUERIES, length - query);
        const at = <usize>(start + query) * ldq + head * <usize>h;
        attendGrad(
          dq + at, dk + kv, dv + kv, q + at, k + kv, v + kv, dy + at, ldq, ldk,
          query, queries, causal ? query + queries : length, headDim, scale, causal != 0,
        );
      }
    }
  }
}
