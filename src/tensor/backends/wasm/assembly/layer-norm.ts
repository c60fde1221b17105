// Layer norm over rows of width d.
import { loadTail, madd, storeTail, sumLanes } from './math';

/** Lanes below `rest` (0 to 3) kept, zeros behind. */
function keepLanes(v: v128, rest: i32): v128 {
  const index = i32x4(0, 1, 2, 3);
  return v128.and(v, i32x4.lt_s(index, i32x4.splat(rest)));
}

/** sum(x[i]). */
function sumRow(x: usize, d: i32): f32 {
  let s = f32x4.splat(0);
  const end = x + (<usize>(d & ~3) << 2);
  for (; x < end; x += 16) s = f32x4.add(s, v128.load(x));
  const rest = d & 3;
  if (rest) s = f32x4.add(s, loadTail(x, rest));
  return sumLanes(s);
}

/** sum((x[i] - mean)^2): a pass of its own, since sum(x^2) - d mean^2 cancels. */
function sumSquares(x: usize, d: i32, mean: f32): f32 {
  const middle = f32x4.splat(mean);
  let s = f32x4.splat(0);
  const end = x + (<usize>(d & ~3) << 2);
  for (; x < end; x += 16) {
    const y = f32x4.sub(v128.load(x), middle);
    s = madd(y, y, s);
  }
  const rest = d & 3;
  if (rest) {
    const y = keepLanes(f32x4.sub(loadTail(x, rest), middle), rest);
    s = madd(y, y, s);
  }
  return sumLanes(s);
}

export function layerNorm(
  out: usize, mean: usize, rstd: usize, x: usize, weight: usize, bias: usize,
  rows: i32, d: i32, eps: f32,
): void {
  const bytes = <usize>d << 2;
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  const one = f32x4.splat(1.0);
  const zero = f32x4.splat(0.0);
  for (let row = 0; row < rows; row++, x += bytes, out += bytes) {
    const m: f32 = sumRow(x, d) / <f32>d;
    const r: f32 = 1 / Mathf.sqrt(sumSquares(x, d, m) / <f32>d + eps);
    store<f32>(mean + (<usize>row << 2), m);
    store<f32>(rstd + (<usize>row << 2), r);
    const middle = f32x4.splat(m);
    const scale = f32x4.splat(r);
    let i: usize = 0;
    for (; i < wide; i += 16) {
      const w = weight ? v128.load(weight + i) : one;
      const b = bias ? v128.load(bias + i) : zero;
      const y = f32x4.mul(f32x4.sub(v128.load(x + i), middle), scale);
      v128.store(out + i, madd(y, w, b));
    }
    if (rest) {
      const w = weight ? loadTail(weight + i, rest) : one;
      const b = bias ? loadTail(bias + i, rest) : zero;
      const y = f32x4.mul(f32x4.sub(loadTail(x + i, rest), middle), scale);
      storeTail(out + i, madd(y, w, b), rest);
    }
  }
}

export function layerNormGrad(
  dx: usize, x: usize, mean: usize, rstd: usize, weight: usize, dy: usize, rows: i32, d: i32,
): void {
  const bytes = <usize>d << 2;
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  const one = f32x4.splat(1.0);
  for (let row = 0; row < rows; row++, x += bytes, dy += bytes, dx += bytes) {
    const middle = f32x4.splat(load<f32>(mean + (<usize>row << 2)));
    const scale = f32x4.splat(load<f32>(rstd + (<usize>row << 2)));
    let total = f32x4.splat(0);
    let dot = f32x4.splat(0);
    let i: usize = 0;
    for (; i < wide; i += 16) {
      const w = weight ? v128.load(weight + i) : one;
      const g = f32x4.mul(v128.load(dy + i), w);
      total = f32x4.add(total, g);
      dot = madd(g, f32x4.mul(f32x4.sub(v128.load(x + i), middle), scale), dot);
    }
    if (rest) {
      const w = weight ? loadTail(weight + i, rest) : one;
      // Zero behind the row, whatever x - mean is there.
      const g = f32x4.mul(loadTail(dy + i, rest), w);
      total = f32x4.add(total, g);
      dot = madd(g, f32x4.mul(f32x4.sub(loadTail(x + i, rest), middle), scale), dot);
    }
    const shift = f32x4.splat(sumLanes(total) / <f32>d);
    const pull = f32x4.splat(-sumLanes(dot) / <f32>d);
    for (i = 0; i < wide; i += 16) {
      const w = weight ? v128.load(weight + i) : one;
      const g = f32x4.sub(f32x4.mul(v128.load(dy + i), w), shift);
      const y = f32x4.mul(f32x4.sub(v128.load(x + i), middle), scale);
      v128.store(dx + i, f32x4.mul(madd(y, pull, g), scale));
    }
    if (rest) {
      const w = weight ? loadTail(weight + i, rest) : one;
      const g = f32x4.sub(f32x4.mul(loadTail(dy + i, rest), w), shift);
      const y = f32x4.mul(f32x4.sub(loadTail(x + i, rest), middle), scale);
      storeTail(dx + i, f32x4.mul(madd(y, pull, g), scale), rest);
    }
  }
}
