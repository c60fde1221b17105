import type { Kernels } from '../../../backend.ts';
import { type DeviceFunction, type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction, Operand } from '../runtime.ts';
import type { Piece, Value } from '../value.ts';
import { assign } from './assign.ts';
import { rowExponentials, sumRows } from './norm.ts';
import { sumMiddle } from './reduce.ts';

/*
 * The scores of every token against its segment are laid out as a matrix [T * heads, past +
 * longest segment], a column a row of the past or of the segment, and then it is matrix products
 * and a softmax. `spans` holds each token's segment, two numbers a row: where it starts (-1: in
 * none) and how long it is.
 */

type Heads = 'heads' | 'kvHeads' | 'headDim';

/** What stands for a column that a token does not see: e^(x - top) of it is 0. */
const UNSEEN = -3e38;

function scores(
  this: Thread<Heads | 'columns' | 'past' | 'causal'>,
  q: Floats,
  k: Floats,
  kPast: Floats,
  spans: Floats,
  scale: number,
  unseen: number,
): number {
  const line = quotient(this.thread.x, this.constants.columns);
  const column = this.thread.x - line * this.constants.columns;
  const row = quotient(line, this.constants.heads);
  const group = quotient(this.constants.heads, this.constants.kvHeads);
  const head = quotient(line - row * this.constants.heads, group);
  const start = spans[row * 2];
  const own = column - this.constants.past;
  let seen = spans[row * 2 + 1];
  if (this.constants.causal === 1) seen = row - start + 1;
  if (start < 0 || own >= seen) return unseen;
  const from = line * this.constants.headDim;
  let dot = 0.0;
  if (own < 0) {
    const at = (column * this.constants.kvHeads + head) * this.constants.headDim;
    for (let j = 0; j < this.constants.headDim; j++) dot += q[from + j] * kPast[at + j];
  } else {
    const at = ((start + own) * this.constants.kvHeads + head) * this.constants.headDim;
    for (let j = 0; j < this.constants.headDim; j++) dot += q[from + j] * k[at + j];
  }
  return dot * scale;
}

/** A tile of columns of probs times v; `before` where a token is in no segment. */
function mix(
  this: Thread<Heads | 'columns' | 'past' | 'tile' | 'area'>,
  exps: Floats,
  total: Floats,
  v: Floats,
  vPast: Floats,
  spans: Floats,
): number {
  const tile = quotient(this.thread.x, this.constants.area);
  const at = this.thread.x - tile * this.constants.area;
  const line = quotient(at, this.constants.headDim);
  const j = at - line * this.constants.headDim;
  const row = quotient(line, this.constants.heads);
  const group = quotient(this.constants.heads, this.constants.kvHeads);
  const head = quotient(line - row * this.constants.heads, group);
  const start = spans[row * 2];
  const length = spans[row * 2 + 1];
  let sum = 0.0;
  if (start >= 0) {
    for (let c = 0; c < this.constants.tile; c++) {
      const column = tile * this.constants.tile + c;
      const own = column - this.constants.past;
      if (own < 0) {
        const from = (column * this.constants.kvHeads + head) * this.constants.headDim;
        sum += exps[line * this.constants.columns + column] * vPast[from + j];
      } else if (own < length) {
        const from = ((start + own) * this.constants.kvHeads + head) * this.constants.headDim;
        sum += exps[line * this.constants.columns + column] * v[from + j];
      }
    }
    sum = sum / total[line];
  }
  return sum;
}

function probabilities(this: Thread<'columns'>, exps: Floats, total: Floats): number {
  return exps[this.thread.x] / total[quotient(this.thread.x, this.constants.columns)];
}

/** dy . v. */
function dProbabilities(
  this: Thread<Heads | 'columns'>,
  dy: Floats,
  v: Floats,
  spans: Floats,
): number {
  const line = quotient(this.thread.x, this.constants.columns);
  const column = this.thread.x - line * this.constants.columns;
  const row = quotient(line, this.constants.heads);
  const group = quotient(this.constants.heads, this.constants.kvHeads);
  const head = quotient(line - row * this.constants.heads, group);
  const start = spans[row * 2];
  if (start < 0 || column >= spans[row * 2 + 1]) return 0.0;
  const at = ((start + column) * this.constants.kvHeads + head) * this.constants.headDim;
  let dot = 0.0;
  for (let j = 0; j < this.constants.headDim; j++) {
    dot += dy[line * this.constants.headDim + j] * v[at + j];
  }
  return dot;
}

function product(this: Thread, a: Floats, b: Floats): number {
  return a[this.thread.x] * b[this.thread.x];
}

/** p (dp - mean) scale. */
function dScores(
  this: Thread<'columns'>,
  probs: Floats,
  dProbs: Floats,
  mean: Floats,
  scale: number,
): number {
  const line = quotient(this.thread.x, this.constants.columns);
  return probs[this.thread.x] * (dProbs[this.thread.x] - mean[line]) * scale;
}

/** Sum over a tile of a query's columns of dScore * k. */
function dQueries(
  this: Thread<Heads | 'columns' | 'tile' | 'area'>,
  ds: Floats,
  k: Floats,
  spans: Floats,
): number {
  const tile = quotient(this.thread.x, this.constants.area);
  const at = this.thread.x - tile * this.constants.area;
  const line = quotient(at, this.constants.headDim);
  const j = at - line * this.constants.headDim;
  const row = quotient(line, this.constants.heads);
  const group = quotient(this.constants.heads, this.constants.kvHeads);
  const head = quotient(line - row * this.constants.heads, group);
  const start = spans[row * 2];
  const length = spans[row * 2 + 1];
  let sum = 0.0;
  if (start >= 0) {
    for (let c = 0; c < this.constants.tile; c++) {
      const column = tile * this.constants.tile + c;
      if (column < length) {
        const from = ((start + column) * this.constants.kvHeads + head) * this.constants.headDim;
        sum += ds[line * this.constants.columns + column] * k[from + j];
      }
    }
  }
  return sum;
}

/** Sum over a tile of the queries of a key's segment, and the heads that share it, of w * x. */
function overQueries(
  this: Thread<Heads | 'columns' | 'tile' | 'area' | 'group'>,
  weights: Floats,
  x: Floats,
  spans: Floats,
): number {
  const tile = quotient(this.thread.x, this.constants.area);
  const at = this.thread.x - tile * this.constants.area;
  const line = quotient(at, this.constants.headDim);
  const j = at - line * this.constants.headDim;
  const row = quotient(line, this.constants.kvHeads);
  const head = line - row * this.constants.kvHeads;
  const start = spans[row * 2];
  const length = spans[row * 2 + 1];
  let sum = 0.0;
  if (start >= 0) {
    for (let i = 0; i < this.constants.tile; i++) {
      const query = tile * this.constants.tile + i;
      if (query < length) {
        for (let h = 0; h < this.constants.group; h++) {
          const from = (start + query) * this.constants.heads + head * this.constants.group + h;
          const weight = weights[from * this.constants.columns + row - start];
          sum += weight * x[from * this.constants.headDim + j];
        }
      }
    }
  }
  return sum;
}

/** What is computed, but what lay there before in rows of no segment. */
function whereCovered(
  this: Thread<'width'>,
  computed: Floats,
  before: Floats,
  spans: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.width);
  if (spans[row * 2] < 0) return before[this.thread.x];
  return computed[this.thread.x];
}

/** Columns, or queries, that one thread goes through: longer kernels risk being given up. */
const TILE = 512;

/** How many launches' worth of tiles a length is cut into, all but the last equally long. */
function tilesOf(length: number): { tiles: number; tile: number } {
  const tiles = Math.max(1, Math.ceil(length / TILE));
  return { tiles, tile: Math.ceil(length / tiles) };
}

/** Scaled dot-product attention over packed sequences, and its gradients. */
export function attentionKernels(
  launch: LaunchFunction,
  read: (operand: Operand) => Float32Array,
  hostOf: (data: Float32Array) => Value,
) {
  /** Each row's segment; the segments are read here, as ops do who check them. */
  const spansOf = (segments: Float32Array, count: number, rows: number) => {
    const spans = new Float32Array(rows * 2);
    for (let row = 0; row < rows; row++) spans[2 * row] = -1;
    let longest = 0;
    for (let s = 0; s < count; s++) {
      const start = segments[2 * s];
      const length = segments[2 * s + 1];
      for (let row = start; row < start + length; row++) spans.set([start, length], 2 * row);
      longest = Math.max(longest, length);
    }
    return { spans: hostOf(spans), longest };
  };
  /** Puts `computed` into the rows of `out` that are in a segment; takes it over. */
  const cover = (out: Piece, computed: Value, spans: Value, width: number) => {
    assign(
      launch,
      out,
      launch(whereCovered, computed.numel, [computed, out.value ?? null, spans], { width }),
    );
    computed.release();
  };
  return {
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
      const rows = q.numel / (heads * headDim);
      const { spans, longest } = spansOf(read(segments), segmentCount, rows);
      const columns = past + longest;
      const lines = rows * heads;
      if (lines * columns === 0) return;
      const sizes = { heads, kvHeads, headDim, columns, past };
      const score = launch(scores, lines * columns, [q, k, kPast, spans], { ...sizes, causal }, [
        scale,
        UNSEEN,
      ]);
      const { top, exps, total } = rowExponentials(launch, score, lines, columns);
      const { tiles, tile } = tilesOf(columns);
      const area = lines * headDim;
      const inputs = [exps, total, v, vPast, spans];
      const parts = launch(mix, tiles * area, inputs, { ...sizes, tile, area });
      cover(out, sumMiddle(launch, parts, 1, tiles, area), spans, heads * headDim);
      for (const value of [score, top, exps, total, spans]) value.release();
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
      const rows = q.numel / (heads * headDim);
      const { spans, longest: columns } = spansOf(read(segments), segmentCount, rows);
      const lines = rows * heads;
      if (lines * columns === 0) return;
      const sizes = { heads, kvHeads, headDim, columns };
      const score = launch(
        scores,
        lines * columns,
        [q, k, null, spans],
        { ...sizes, past: 0, causal },
        [scale, UNSEEN],
      );
      const { top, exps, total } = rowExponentials(launch, score, lines, columns);
      const probs = launch(probabilities, lines * columns, [exps, total], { columns });
      const dProbs = launch(dProbabilities, lines * columns, [dy, v, spans], sizes);
      const mean = sumRows(launch, product, [probs, dProbs], lines, columns, {});
      const ds = launch(dScores, lines * columns, [probs, dProbs, mean], { columns }, [scale]);
      const { tiles, tile } = tilesOf(columns);
      const summed = (source: DeviceFunction, inputs: readonly Operand[], width: number) => {
        const area = rows * width;
        const constants = { ...sizes, tile, area, group: heads / kvHeads };
        return sumMiddle(launch, launch(source, tiles * area, inputs, constants), 1, tiles, area);
      };
      const [qWidth, kvWidth] = [heads * headDim, kvHeads * headDim];
      cover(dq, summed(dQueries, [ds, k, spans], qWidth), spans, qWidth);
      cover(dk, summed(overQueries, [ds, q, spans], kvWidth), spans, kvWidth);
      cover(dv, summed(overQueries, [probs, dy, spans], kvWidth), spans, kvWidth);
      for (const value of [score, top, exps, total, probs, dProbs, mean, ds, spans])
        value.release();
    },
  } satisfies Partial<Kernels>;
}
