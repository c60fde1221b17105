import type { Kernels } from '../../../backend.ts';
import { type DeviceFunction, type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import type { Piece, Value } from '../value.ts';
import { assign } from './assign.ts';

/** Elements that one thread reduces, in 32 groups of 32: short, and sums stay accurate. */
const TILE = 1024;

type Middle = 'n' | 'inner' | 'tiles';

/*
 * Each reduces elements [tile * 1024, + 1024) of the middle axis of [outer, n, inner]; output
 * [outer, tiles, inner]. Elements past the end are read as the last one, or not at all.
 */

function sumTile(this: Thread<Middle>, x: Floats): number {
  const line = quotient(this.thread.x, this.constants.inner);
  const column = this.thread.x - line * this.constants.inner;
  const outer = quotient(line, this.constants.tiles);
  const first = (line - outer * this.constants.tiles) * 1024;
  const start = outer * this.constants.n;
  let total = 0.0;
  for (let i = 0; i < 32; i++) {
    let part = 0.0;
    for (let j = 0; j < 32; j++) {
      const k = first + i * 32 + j;
      if (k < this.constants.n) part += x[(start + k) * this.constants.inner + column];
    }
    total += part;
  }
  return total;
}

function maxTile(this: Thread<Middle>, x: Floats): number {
  const line = quotient(this.thread.x, this.constants.inner);
  const column = this.thread.x - line * this.constants.inner;
  const outer = quotient(line, this.constants.tiles);
  const first = (line - outer * this.constants.tiles) * 1024;
  const start = outer * this.constants.n;
  let best = x[(start + first) * this.constants.inner + column];
  for (let i = 1; i < 1024; i++) {
    if (first + i < this.constants.n) {
      const next = x[(start + first + i) * this.constants.inner + column];
      // Not by max, which on a GPU need not pass a NaN on: where neither comparison holds, one is.
      if (next > best) best = next;
      else if (!(next <= best)) best = next + best;
    }
  }
  return best;
}

/** Index along the whole axis of the tile's first maximum. */
function argmaxTile(this: Thread<Middle>, x: Floats): number {
  const line = quotient(this.thread.x, this.constants.inner);
  const column = this.thread.x - line * this.constants.inner;
  const outer = quotient(line, this.constants.tiles);
  const first = (line - outer * this.constants.tiles) * 1024;
  const start = outer * this.constants.n;
  let top = x[(start + first) * this.constants.inner + column];
  let best = first;
  for (let i = 1; i < 1024; i++) {
    if (first + i < this.constants.n) {
      const next = x[(start + first + i) * this.constants.inner + column];
      if (next > top) {
        top = next;
        best = first + i;
      }
    }
  }
  return best;
}

/** The best of the tiles' best: their indices `[outer, tiles, inner]`, read in x. */
function argmaxOfTiles(this: Thread<Middle>, x: Floats, indices: Floats): number {
  const outer = quotient(this.thread.x, this.constants.inner);
  const column = this.thread.x - outer * this.constants.inner;
  const start = outer * this.constants.n;
  let best = indices[outer * this.constants.tiles * this.constants.inner + column];
  let top = x[(start + best) * this.constants.inner + column];
  for (let tile = 1; tile < this.constants.tiles; tile++) {
    const at = indices[(outer * this.constants.tiles + tile) * this.constants.inner + column];
    const next = x[(start + at) * this.constants.inner + column];
    if (next > top) {
      top = next;
      best = at;
    }
  }
  return best;
}

/** Launches a tile kernel until one tile is left; takes `x` over. */
function reduceMiddle(
  launch: LaunchFunction,
  source: DeviceFunction,
  x: Value,
  outer: number,
  n: number,
  inner: number,
): Value {
  let current = x;
  let left = n;
  while (left > 1) {
    const tiles = Math.ceil(left / TILE);
    const next = launch(source, outer * tiles * inner, [current], { n: left, inner, tiles });
    current.release();
    current = next;
    left = tiles;
  }
  return current;
}

function squared(this: Thread, x: Floats): number {
  return x[this.thread.x] * x[this.thread.x];
}

/** Sum over the middle of `[outer, n, inner]`; takes `x` over. */
export function sumMiddle(
  launch: LaunchFunction,
  x: Value,
  outer: number,
  n: number,
  inner: number,
): Value {
  return reduceMiddle(launch, sumTile, x, outer, n, inner);
}

/** Largest over the middle of `[outer, n, inner]`; takes `x` over. */
export function maxMiddle(
  launch: LaunchFunction,
  x: Value,
  outer: number,
  n: number,
  inner: number,
): Value {
  return reduceMiddle(launch, maxTile, x, outer, n, inner);
}

/** Reductions over the middle axis, in tiles. */
export function reduceKernels(launch: LaunchFunction) {
  /** A reduction's first launch reads the piece; those behind it what came of that. */
  const tiled = (source: DeviceFunction, x: Piece, outer: number, n: number, inner: number) => {
    const tiles = Math.max(1, Math.ceil(n / TILE));
    return { tiles, parts: launch(source, outer * tiles * inner, [x], { n, inner, tiles }) };
  };
  return {
    sum(out, x, outer, n, inner) {
      const { tiles, parts } = tiled(sumTile, x, outer, n, inner);
      assign(launch, out, sumMiddle(launch, parts, outer, tiles, inner));
    },
    max(out, x, outer, n, inner) {
      const { tiles, parts } = tiled(maxTile, x, outer, n, inner);
      assign(launch, out, maxMiddle(launch, parts, outer, tiles, inner));
    },
    sumSquares(out, x, n) {
      assign(launch, out, sumMiddle(launch, launch(squared, n, [x]), 1, n, 1));
    },
    argmax(out, x, outer, n, inner) {
      const { tiles, parts } = tiled(argmaxTile, x, outer, n, inner);
      const best =
        tiles === 1
          ? parts.retain()
          : launch(argmaxOfTiles, outer * inner, [x, parts], { n, inner, tiles });
      parts.release();
      assign(launch, out, best);
    },
  } satisfies Partial<Kernels>;
}
