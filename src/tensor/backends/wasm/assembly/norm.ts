// Root mean square norm and softmax, over rows of width d.
import { exp4, loadTail, log4, madd, storeTail, sumLanes } from './math';
import { maxRow } from './reduce';
import { dot } from './tiles';

export function rmsNorm(
  out: usize, rstd: usize, x: usize, weight: usize, rows: i32, d: i32, eps: f32,
): void {
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  for (let row = 0; row < rows; row++, x += <usize>d << 2, out += <usize>d << 2) {
    const r: f32 = 1 / Mathf.sqrt(dot(x, x, d) / <f32>d + eps);
    store<f32>(rstd + (<usize>row << 2), r);
    const scale = f32x4.splat(r);
    let i: usize = 0;
    if (weight) {
      for (; i < wide; i += 16) {
        v128.store(out + i, f32x4.mul(f32x4.mul(v128.load(x + i), scale), v128.load(weight + i)));
      }
      if (rest) {
        const y = f32x4.mul(f32x4.mul(loadTail(x + i, rest), scale), loadTail(weight + i, rest));
        storeTail(out + i, y, rest);
      }
    } else {
      for (; i < wide; i += 16) v128.store(out + i, f32x4.mul(v128.load(x + i), scale));
      if (rest) storeTail(out + i, f32x4.mul(loadTail(x + i, rest), scale), rest);
    }
  }
}

/** sum(a b w), or sum(a b) without w. */
function weightedDot(a: usize, b: usize, w: usize, d: i32): f32 {
  if (!w) return dot(a, b, d);
  let s = f32x4.splat(0);
  const end = a + (<usize>(d & ~3) << 2);
  for (; a < end; a += 16, b += 16, w += 16) {
    s = madd(f32x4.mul(v128.load(a), v128.load(b)), v128.load(w), s);
  }
  const rest = d & 3;
  if (rest) s = madd(f32x4.mul(loadTail(a, rest), loadTail(b, rest)), loadTail(w, rest), s);
  return sumLanes(s);
}

export function rmsNormGrad(
  dx: usize, x: usize, rstd: usize, weight: usize, dy: usize, rows: i32, d: i32,
): void {
  const bytes = <usize>d << 2;
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  const one = f32x4.splat(1.0);
  for (let row = 0; row < rows; row++, x += bytes, dy += bytes, dx += bytes) {
    const r = load<f32>(rstd + (<usize>row << 2));
    // dx = r g - x (r^3 mean(g x)), g = dy weight
    const pull = f32x4.splat(-(r * r * r) * weightedDot(dy, x, weight, d) / <f32>d);
    const scale = f32x4.splat(r);
    let i: usize = 0;
    for (; i < wide; i += 16) {
      const w = weight ? v128.load(weight + i) : one;
      const g = f32x4.mul(f32x4.mul(v128.load(dy + i), w), scale);
      v128.store(dx + i, madd(v128.load(x + i), pull, g));
    }
    if (rest) {
      const w = weight ? loadTail(weight + i, rest) : one;
      const g = f32x4.mul(f32x4.mul(loadTail(dy + i, rest), w), scale);
      storeTail(dx + i, madd(loadTail(x + i, rest), pull, g), rest);
    }
  }
}

/** out[i] = e^(x[i] - shift); returns their sum. */
export function expRow(out: usize, x: usize, n: i32, shift: f32): f32 {
  const shifts = f32x4.splat(shift);
  let s = f32x4.splat(0);
  const end = x + (<usize>(n & ~3) << 2);
  for (; x < end; x += 16, out += 16) {
    const y = exp4(f32x4.sub(v128.load(x), shifts));
    v128.store(out, y);
    s = f32x4.add(s, y);
  }
  let total = sumLanes(s);
  const rest = n & 3;
  if (rest) {
    const y = exp4(f32x4.sub(loadTail(x, rest), shifts));
    storeTail(out, y, rest);
    total += f32x4.extract_lane(y, 0);
    if (rest > 1) total += f32x4.extract_lane(y, 1);
    if (rest > 2) total += f32x4.extract_lane(y, 2);
  }
  return total;
}

/** x[i] *= factor, in place. */
export function scaleRow(x: usize, n: i32, factor: f32): void {
  const factors = f32x4.splat(factor);
  const end = x + (<usize>(n & ~3) << 2);
  for (; x < end; x += 16) v128.store(x, f32x4.mul(v128.load(x), factors));
  const rest = n & 3;
  if (rest) storeTail(x, f32x4.mul(loadTail(x, rest), factors), rest);
}

export function softmax(out: usize, x: usize, rows: i32, d: i32): void {
  const bytes = <usize>d << 2;
  for (let row = 0; row < rows; row++, x += bytes, out += bytes) {
    scaleRow(out, d, 1 / expRow(out, x, d, maxRow(x, d)));
  }
}

export function logSoftmax(out: usize, x: usize, rows: i32, d: i32): void {
  const bytes = <usize>d << 2;
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  for (let row = 0; row < rows; row++, x += bytes, out += bytes) {
    const peak = maxRow(x, d);
    const shift = f32x4.splat(peak);
    const logTotal = log4(f32x4.splat(sumExp(x, d, peak)));
    let i: usize = 0;
    for (; i < wide; i += 16) {
      v128.store(out + i, f32x4.sub(f32x4.sub(v128.load(x + i), shift), logTotal));
    }
    if (rest) {
      storeTail(out + i, f32x4.sub(f32x4.sub(loadTail(x + i, rest), shift), logTotal), rest);
    }
  }
}

/** sum e^(x[i] - shift), stored nowhere. */
function sumExp(x: usize, n: i32, shift: f32): f32 {
  const shifts = f32x4.splat(shift);
  let s = f32x4.splat(0);
  const end = x + (<usize>(n & ~3) << 2);
  for (; x < end; x += 16) s = f32x4.add(s, exp4(f32x4.sub(v128.load(x), shifts)));
  let total = sumLanes(s);
  for (let rest = n & 3; rest > 0; rest--, x += 4) {
    const y = exp4(f32x4.sub(v128.load32_splat(x), shifts));
    total += f32x4.extract_lane(y, 0);
  }
  return total;
}

export function softmaxGrad(dx: usize, y: usize, dy: usize, rows: i32, d: i32): void {
  const bytes = <usize>d << 2;
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  for (let row = 0; row < rows; row++, y += bytes, dy += bytes, dx += bytes) {
    const mean = f32x4.splat(dot(dy, y, d));
    let i: usize = 0;
    for (; i < wide; i += 16) {
      v128.store(dx + i, f32x4.mul(v128.load(y + i), f32x4.sub(v128.load(dy + i), mean)));
    }
    if (rest) {
      const g = f32x4.mul(loadTail(y + i, rest), f32x4.sub(loadTail(dy + i, rest), mean));
      storeTail(dx + i, g, rest);
    }
  }
}

export function logSoftmaxGrad(dx: usize, y: usize, dy: usize, rows: i32, d: i32): void {
  const bytes = <usize>d << 2;
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  for (let row = 0; row < rows; row++, y += bytes, dy += bytes, dx += bytes) {
    let s = f32x4.splat(0);
    let i: usize = 0;
    for (; i < wide; i += 16) s = f32x4.add(s, v128.load(dy + i));
    if (rest) s = f32x4.add(s, loadTail(dy + i, rest));
    const total = f32x4.splat(-sumLanes(s));
    for (i = 0; i < wide; i += 16) {
      v128.store(dx + i, madd(exp4(v128.load(y + i)), total, v128.load(dy + i)));
    }
    if (rest) {
      const g = madd(exp4(loadTail(y + i, rest)), total, loadTail(dy + i, rest));
      storeTail(dx + i, g, rest);
    }
  }
}
