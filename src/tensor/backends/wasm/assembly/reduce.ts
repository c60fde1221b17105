// Reductions over the middle of [outer, n, inner].
import { loadTail, madd, maxLanes, storeTail, sumLanes } from './math';

/** Terms that are summed in f32 before the partial sum joins the total: bounds the rounding. */
const CHUNK: i32 = 1024;

/** Sum of n contiguous floats: chunks in f32 (16 running sums), their sums in f64. */
function sumRow(x: usize, n: i32): f32 {
  let total: f64 = 0;
  while (n > 0) {
    const count = min(n, CHUNK);
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let i = 0;
    for (; i + 16 <= count; i += 16, x += 64) {
      s0 = f32x4.add(s0, v128.load(x));
      s1 = f32x4.add(s1, v128.load(x, 16));
      s2 = f32x4.add(s2, v128.load(x, 32));
      s3 = f32x4.add(s3, v128.load(x, 48));
    }
    for (; i + 4 <= count; i += 4, x += 16) s0 = f32x4.add(s0, v128.load(x));
    const rest = count & 3;
    if (rest) {
      s1 = f32x4.add(s1, loadTail(x, rest));
      x += <usize>rest << 2;
    }
    total += <f64>sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
    n -= count;
  }
  return <f32>total;
}

/** As sumRow, of squares. */
export function sumSquares(out: usize, x: usize, n: i32): void {
  let total: f64 = 0;
  while (n > 0) {
    const count = min(n, CHUNK);
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let i = 0;
    for (; i + 16 <= count; i += 16, x += 64) {
      const x0 = v128.load(x);
      const x1 = v128.load(x, 16);
      const x2 = v128.load(x, 32);
      const x3 = v128.load(x, 48);
      s0 = madd(x0, x0, s0);
      s1 = madd(x1, x1, s1);
      s2 = madd(x2, x2, s2);
      s3 = madd(x3, x3, s3);
    }
    for (; i + 4 <= count; i += 4, x += 16) {
      const x0 = v128.load(x);
      s0 = madd(x0, x0, s0);
    }
    const rest = count & 3;
    if (rest) {
      const x0 = loadTail(x, rest);
      s1 = madd(x0, x0, s1);
      x += <usize>rest << 2;
    }
    total += <f64>sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
    n -= count;
  }
  store<f32>(out, <f32>total);
}

/** Sums down four columns (the first `width` of them), chunk by chunk. */
function sumColumns(out: usize, x: usize, n: i32, step: usize, width: i32): void {
  let total = f32x4.splat(0);
  while (n > 0) {
    const count = min(n, 64);
    let s = f32x4.splat(0);
    if (width == 4) {
      for (let i = 0; i < count; i++, x += step) s = f32x4.add(s, v128.load(x));
    } else {
      for (let i = 0; i < count; i++, x += step) s = f32x4.add(s, loadTail(x, width));
    }
    total = f32x4.add(total, s);
    n -= count;
  }
  if (width == 4) v128.store(out, total);
  else storeTail(out, total, width);
}

/** Sums down sixteen columns: whole cache lines of each row. */
function sumLines(out: usize, x: usize, n: i32, step: usize): void {
  const zero = f32x4.splat(0);
  let t0 = zero, t1 = zero, t2 = zero, t3 = zero;
  while (n > 0) {
    const count = min(n, 64);
    let s0 = zero, s1 = zero, s2 = zero, s3 = zero;
    for (let i = 0; i < count; i++, x += step) {
      s0 = f32x4.add(s0, v128.load(x));
      s1 = f32x4.add(s1, v128.load(x, 16));
      s2 = f32x4.add(s2, v128.load(x, 32));
      s3 = f32x4.add(s3, v128.load(x, 48));
    }
    t0 = f32x4.add(t0, s0);
    t1 = f32x4.add(t1, s1);
    t2 = f32x4.add(t2, s2);
    t3 = f32x4.add(t3, s3);
    n -= count;
  }
  v128.store(out, t0);
  v128.store(out, t1, 16);
  v128.store(out, t2, 32);
  v128.store(out, t3, 48);
}

export function sum(out: usize, x: usize, outer: i32, n: i32, inner: i32): void {
  const step = <usize>inner << 2;
  for (let o = 0; o < outer; o++, x += step * <usize>n, out += step) {
    if (inner == 1) {
      store<f32>(out, sumRow(x, n));
    } else {
      let i = 0;
      for (; i + 16 <= inner; i += 16) {
        sumLines(out + (<usize>i << 2), x + (<usize>i << 2), n, step);
      }
      for (; i < inner; i += 4) {
        const at = <usize>i << 2;
        sumColumns(out + at, x + at, n, step, min(inner - i, 4));
      }
    }
  }
}

/** Largest of n contiguous floats, NaN passed over; -Infinity when there is none. */
export function maxRow(x: usize, n: i32): f32 {
  let m0 = f32x4.splat(-Infinity);
  let m1 = m0;
  let i = 0;
  for (; i + 8 <= n; i += 8, x += 32) {
    m0 = f32x4.pmax(m0, v128.load(x));
    m1 = f32x4.pmax(m1, v128.load(x, 16));
  }
  let best = maxLanes(f32x4.pmax(m0, m1));
  for (; i < n; i++, x += 4) best = max<f32>(best, load<f32>(x));
  return best;
}

/** As maxRow, but a NaN anywhere wins, as in Math.max: for the kernel that people call. */
function maxRowOrNaN(x: usize, n: i32): f32 {
  let best = f32x4.splat(-Infinity);
  let i = 0;
  for (; i + 4 <= n; i += 4, x += 16) best = f32x4.max(best, v128.load(x));
  for (; i < n; i++, x += 4) best = f32x4.max(best, v128.load32_splat(x));
  best = f32x4.max(best, v128.shuffle<f32>(best, best, 2, 3, 0, 1));
  best = f32x4.max(best, v128.shuffle<f32>(best, best, 1, 0, 3, 2));
  return f32x4.extract_lane(best, 0);
}

export function max_(out: usize, x: usize, outer: i32, n: i32, inner: i32): void {
  const step = <usize>inner << 2;
  for (let o = 0; o < outer; o++, x += step * <usize>n, out += step) {
    if (inner == 1) {
      store<f32>(out, maxRowOrNaN(x, n));
      continue;
    }
    for (let i = 0; i < inner; i += 4) {
      const width = min(inner - i, 4);
      let p = x + (<usize>i << 2);
      let best = f32x4.splat(-Infinity);
      for (let j = 0; j < n; j++, p += step) {
        best = f32x4.max(best, width == 4 ? v128.load(p) : loadTail(p, width));
      }
      if (width == 4) v128.store(out + (<usize>i << 2), best);
      else storeTail(out + (<usize>i << 2), best, width);
    }
  }
}

export function argmax(out: usize, x: usize, outer: i32, n: i32, inner: i32): void {
  const step = <usize>inner << 2;
  for (let o = 0; o < outer; o++, x += step * <usize>n, out += step) {
    for (let i = 0; i < inner; i++) {
      let p = x + (<usize>i << 2);
      let at = 0;
      if (inner == 1) {
        const best = maxRow(p, n);
        while (at < n - 1 && load<f32>(p + (<usize>at << 2)) != best) at++;
      } else {
        let best = load<f32>(p);
        for (let j = 1; j < n; j++) {
          p += step;
          const value = load<f32>(p);
          if (value > best) {
            best = value;
            at = j;
          }
        }
      }
      store<i32>(out + (<usize>i << 2), at);
    }
  }
}
