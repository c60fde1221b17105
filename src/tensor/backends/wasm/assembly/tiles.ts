// Register tiles of matrix products: the inner loops of matmul and attention. Strides are bytes.
import { loadTail, madd, sumLanes, sumLanes4 } from './math';

/** C[4,8] (+)= A[4,k] B[k,8]; rows of A contiguous. */
function tileRows(
  c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize, k: i32, accumulate: bool,
): void {
  let a1 = a + lda;
  let a2 = a1 + lda;
  let a3 = a2 + lda;
  let c00 = f32x4.splat(0);
  let c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  let i = 0;
  for (; i + 2 <= k; i += 2) {
    let b0 = v128.load(b);
    let b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a1);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a2);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a3);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    b += ldb;
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    x = v128.load32_splat(a, 4);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a1, 4);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a2, 4);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a3, 4);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    b += ldb;
    a += 8;
    a1 += 8;
    a2 += 8;
    a3 += 8;
  }
  if (i < k) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a1);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a2);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a3);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
  }
  storeTile(c, ldc, c00, c01, c10, c11, c20, c21, c30, c31, accumulate);
}

/** C[4,8] (+)= A[k,4]^T B[k,8]; four neighbours of A a step. */
function tilePanel(
  c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize, k: i32, accumulate: bool,
): void {
  let c00 = f32x4.splat(0);
  let c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  for (let i = 0; i < k; i++, a += lda, b += ldb) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a, 8);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a, 12);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
  }
  storeTile(c, ldc, c00, c01, c10, c11, c20, c21, c30, c31, accumulate);
}

/**
 * C[6,8] (+)= A[k,6]^T B[k,8] of packed operands: A `[k][6][4]`, each element in all lanes, because a
 * load that broadcasts costs V8 a second instruction; B `[k][8]`. Twelve sums, so that one is seldom
 * waited for, two of B and one of A are all 15 registers that V8 gives. 1.4 times the 4 x 8 tile.
 */
export function tilePacked(
  c: usize, ldc: usize, a: usize, b: usize, k: i32, accumulate: bool,
): void {
  const d1 = c + ldc;
  const d2 = d1 + ldc;
  const d3 = d2 + ldc;
  const d4 = d3 + ldc;
  const d5 = d4 + ldc;
  let c00 = f32x4.splat(0);
  let c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00;
  if (accumulate) {
    c00 = v128.load(c);
    c01 = v128.load(c, 16);
    c10 = v128.load(d1);
    c11 = v128.load(d1, 16);
    c20 = v128.load(d2);
    c21 = v128.load(d2, 16);
    c30 = v128.load(d3);
    c31 = v128.load(d3, 16);
    c40 = v128.load(d4);
    c41 = v128.load(d4, 16);
    c50 = v128.load(d5);
    c51 = v128.load(d5, 16);
  }
  for (const end = b + (<usize>k << 5); b < end; b += 32, a += 96) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load(a);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load(a, 16);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load(a, 32);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load(a, 48);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    x = v128.load(a, 64);
    c40 = madd(x, b0, c40);
    c41 = madd(x, b1, c41);
    x = v128.load(a, 80);
    c50 = madd(x, b0, c50);
    c51 = madd(x, b1, c51);
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(d1, c10);
  v128.store(d1, c11, 16);
  v128.store(d2, c20);
  v128.store(d2, c21, 16);
  v128.store(d3, c30);
  v128.store(d3, c31, 16);
  v128.store(d4, c40);
  v128.store(d4, c41, 16);
  v128.store(d5, c50);
  v128.store(d5, c51, 16);
}

function storeTile(
  c: usize, ldc: usize,
  c00: v128, c01: v128, c10: v128, c11: v128, c20: v128, c21: v128, c30: v128, c31: v128,
  accumulate: bool,
): void {
  const d1 = c + ldc;
  const d2 = d1 + ldc;
  const d3 = d2 + ldc;
  if (accumulate) {
    c00 = f32x4.add(c00, v128.load(c));
    c01 = f32x4.add(c01, v128.load(c, 16));
    c10 = f32x4.add(c10, v128.load(d1));
    c11 = f32x4.add(c11, v128.load(d1, 16));
    c20 = f32x4.add(c20, v128.load(d2));
    c21 = f32x4.add(c21, v128.load(d2, 16));
    c30 = f32x4.add(c30, v128.load(d3));
    c31 = f32x4.add(c31, v128.load(d3, 16));
  }
  v128.store(c, c00);
  v128.store(c, c01, 16);
  v128.store(d1, c10);
  v128.store(d1, c11, 16);
  v128.store(d2, c20);
  v128.store(d2, c21, 16);
  v128.store(d3, c30);
  v128.store(d3, c31, 16);
}

/** C[1,8] (+)= sum_i a[i * step] B[i,:8]; four steps at a time, or the sums would wait on each other. */
function tileRow(
  c: usize, a: usize, step: usize, b: usize, ldb: usize, k: i32, accumulate: bool,
): void {
  let p0 = f32x4.splat(0);
  let p1 = p0, q0 = p0, q1 = p0, r0 = p0, r1 = p0, s0 = p0, s1 = p0;
  let i = 0;
  for (; i + 4 <= k; i += 4) {
    let x = v128.load32_splat(a);
    p0 = madd(x, v128.load(b), p0);
    p1 = madd(x, v128.load(b, 16), p1);
    a += step;
    b += ldb;
    x = v128.load32_splat(a);
    q0 = madd(x, v128.load(b), q0);
    q1 = madd(x, v128.load(b, 16), q1);
    a += step;
    b += ldb;
    x = v128.load32_splat(a);
    r0 = madd(x, v128.load(b), r0);
    r1 = madd(x, v128.load(b, 16), r1);
    a += step;
    b += ldb;
    x = v128.load32_splat(a);
    s0 = madd(x, v128.load(b), s0);
    s1 = madd(x, v128.load(b, 16), s1);
    a += step;
    b += ldb;
  }
  for (; i < k; i++, a += step, b += ldb) {
    const x = v128.load32_splat(a);
    p0 = madd(x, v128.load(b), p0);
    p1 = madd(x, v128.load(b, 16), p1);
  }
  p0 = f32x4.add(f32x4.add(p0, q0), f32x4.add(r0, s0));
  p1 = f32x4.add(f32x4.add(p1, q1), f32x4.add(r1, s1));
  if (accumulate) {
    p0 = f32x4.add(p0, v128.load(c));
    p1 = f32x4.add(p1, v128.load(c, 16));
  }
  v128.store(c, p0);
  v128.store(c, p1, 16);
}

/** C[m,n] (+)= A B one result at a time: columns that do not fill a tile. */
function edge(
  c: usize, ldc: usize, a: usize, aRow: usize, aStep: usize, b: usize, ldb: usize,
  m: i32, n: i32, k: i32, accumulate: bool,
): void {
  for (let i = 0; i < m; i++, a += aRow, c += ldc) {
    for (let j = 0; j < n; j++) {
      const at = <usize>j << 2;
      let pa = a;
      let pb = b + at;
      let total: f32 = accumulate ? load<f32>(c + at) : 0;
      for (let l = 0; l < k; l++, pa += aStep, pb += ldb) total += load<f32>(pa) * load<f32>(pb);
      store<f32>(c + at, total);
    }
  }
}

/** C[m,n] (+)= A[m,k] B[k,n], nothing packed: for operands that lie in the caches. */
export function productRows(
  c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize,
  m: i32, n: i32, k: i32, accumulate: bool,
): void {
  let j = 0;
  for (; j + 8 <= n; j += 8, c += 32, b += 32) {
    let i = 0;
    let pa = a;
    let pc = c;
    for (; i + 4 <= m; i += 4, pa += lda << 2, pc += ldc << 2) {
      tileRows(pc, ldc, pa, lda, b, ldb, k, accumulate);
    }
    for (; i < m; i++, pa += lda, pc += ldc) tileRow(pc, pa, 4, b, ldb, k, accumulate);
  }
  if (j < n) edge(c, ldc, a, lda, 4, b, ldb, m, n - j, k, accumulate);
}

/** C[m,n] (+)= A[k,m]^T B[k,n], nothing packed. */
export function productPanel(
  c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize,
  m: i32, n: i32, k: i32, accumulate: bool,
): void {
  let j = 0;
  for (; j + 8 <= n; j += 8, c += 32, b += 32) {
    let i = 0;
    let pa = a;
    let pc = c;
    for (; i + 4 <= m; i += 4, pa += 16, pc += ldc << 2) {
      tilePanel(pc, ldc, pa, lda, b, ldb, k, accumulate);
    }
    for (; i < m; i++, pa += 4, pc += ldc) tileRow(pc, pa, lda, b, ldb, k, accumulate);
  }
  if (j < n) edge(c, ldc, a, 4, lda, b, ldb, m, n - j, k, accumulate);
}

/** C[4,2] = A[4,k] B[2,k]^T: sums run along k in all lanes and are added up at the end. */
function tileDots(
  c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize, k: i32,
): void {
  let a1 = a + lda;
  let a2 = a1 + lda;
  let a3 = a2 + lda;
  let b1 = b + ldb;
  let c00 = f32x4.splat(0);
  let c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  const end = a + (<usize>(k & ~3) << 2);
  for (; a < end; a += 16, a1 += 16, a2 += 16, a3 += 16, b += 16, b1 += 16) {
    const y0 = v128.load(b);
    const y1 = v128.load(b1);
    let x = v128.load(a);
    c00 = madd(x, y0, c00);
    c01 = madd(x, y1, c01);
    x = v128.load(a1);
    c10 = madd(x, y0, c10);
    c11 = madd(x, y1, c11);
    x = v128.load(a2);
    c20 = madd(x, y0, c20);
    c21 = madd(x, y1, c21);
    x = v128.load(a3);
    c30 = madd(x, y0, c30);
    c31 = madd(x, y1, c31);
  }
  const rest = k & 3;
  if (rest) {
    const y0 = loadTail(b, rest);
    const y1 = loadTail(b1, rest);
    let x = loadTail(a, rest);
    c00 = madd(x, y0, c00);
    c01 = madd(x, y1, c01);
    x = loadTail(a1, rest);
    c10 = madd(x, y0, c10);
    c11 = madd(x, y1, c11);
    x = loadTail(a2, rest);
    c20 = madd(x, y0, c20);
    c21 = madd(x, y1, c21);
    x = loadTail(a3, rest);
    c30 = madd(x, y0, c30);
    c31 = madd(x, y1, c31);
  }
  const upper = sumLanes4(c00, c01, c10, c11);
  const lower = sumLanes4(c20, c21, c30, c31);
  v128.store_lane<f64>(c, upper, 0);
  c += ldc;
  v128.store_lane<f64>(c, upper, 1);
  c += ldc;
  v128.store_lane<f64>(c, lower, 0);
  c += ldc;
  v128.store_lane<f64>(c, lower, 1);
}

/** C[1,4] = a[k] B[4,k]^T. */
function rowDots(c: usize, a: usize, b: usize, ldb: usize, k: i32): void {
  let b1 = b + ldb;
  let b2 = b1 + ldb;
  let b3 = b2 + ldb;
  let p0 = f32x4.splat(0);
  let p1 = p0, p2 = p0, p3 = p0, q0 = p0, q1 = p0, q2 = p0, q3 = p0;
  let i = 0;
  for (; i + 8 <= k; i += 8, a += 32, b += 32, b1 += 32, b2 += 32, b3 += 32) {
    const x = v128.load(a);
    const y = v128.load(a, 16);
    p0 = madd(x, v128.load(b), p0);
    p1 = madd(x, v128.load(b1), p1);
    p2 = madd(x, v128.load(b2), p2);
    p3 = madd(x, v128.load(b3), p3);
    q0 = madd(y, v128.load(b, 16), q0);
    q1 = madd(y, v128.load(b1, 16), q1);
    q2 = madd(y, v128.load(b2, 16), q2);
    q3 = madd(y, v128.load(b3, 16), q3);
  }
  if (i + 4 <= k) {
    const x = v128.load(a);
    p0 = madd(x, v128.load(b), p0);
    p1 = madd(x, v128.load(b1), p1);
    p2 = madd(x, v128.load(b2), p2);
    p3 = madd(x, v128.load(b3), p3);
    a += 16;
    b += 16;
    b1 += 16;
    b2 += 16;
    b3 += 16;
  }
  const rest = k & 3;
  if (rest) {
    const x = loadTail(a, rest);
    q0 = madd(x, loadTail(b, rest), q0);
    q1 = madd(x, loadTail(b1, rest), q1);
    q2 = madd(x, loadTail(b2, rest), q2);
    q3 = madd(x, loadTail(b3, rest), q3);
  }
  v128.store(
    c,
    sumLanes4(f32x4.add(p0, q0), f32x4.add(p1, q1), f32x4.add(p2, q2), f32x4.add(p3, q3)),
  );
}

/** a . b over k contiguous floats. */
export function dot(a: usize, b: usize, k: i32): f32 {
  let p = f32x4.splat(0);
  let q = p;
  let i = 0;
  for (; i + 8 <= k; i += 8, a += 32, b += 32) {
    p = madd(v128.load(a), v128.load(b), p);
    q = madd(v128.load(a, 16), v128.load(b, 16), q);
  }
  if (i + 4 <= k) {
    p = madd(v128.load(a), v128.load(b), p);
    a += 16;
    b += 16;
  }
  const rest = k & 3;
  if (rest) q = madd(loadTail(a, rest), loadTail(b, rest), q);
  return sumLanes(f32x4.add(p, q));
}

/** C[m,n] = A[m,k] B[n,k]^T. Two rows of B at a time pass all of A, which should fit the cache. */
export function productDots(
  c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize, m: i32, n: i32, k: i32,
): void {
  const full = m & ~3;
  if (full) {
    let pb = b;
    let pc = c;
    let j = 0;
    for (; j + 2 <= n; j += 2, pb += ldb << 1, pc += 8) {
      let pa = a;
      let pr = pc;
      for (let i = 0; i < full; i += 4, pa += lda << 2, pr += ldc << 2) {
        tileDots(pr, ldc, pa, lda, pb, ldb, k);
      }
    }
    if (j < n) {
      for (let i = 0; i < full; i++) {
        store<f32>(pc + <usize>i * ldc, dot(a + <usize>i * lda, pb, k));
      }
    }
  }
  for (let i = full; i < m; i++) {
    const pa = a + <usize>i * lda;
    let pc = c + <usize>i * ldc;
    let pb = b;
    let j = 0;
    for (; j + 4 <= n; j += 4, pb += ldb << 2, pc += 16) rowDots(pc, pa, pb, ldb, k);
    for (; j < n; j++, pb += ldb, pc += 4) store<f32>(pc, dot(pa, pb, k));
  }
}
