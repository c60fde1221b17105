// Matrix products, blocked so that what is read often stays near.
//   Few rows times B^T (rows of both contiguous): sums along k, nothing packed.
//   Few rows times B: rows of B are added up.
//   Else a block of B is packed by eight columns, for the second cache, and A by six rows.
// Which way it goes depends on A's rows, and threads that share a product keep them above FEW_ROWS.
import { KC, NC, SCRATCH_A, SCRATCH_B, SCRATCH_TILE } from './layout';
import { madd } from './math';
import { productDots, tilePacked } from './tiles';

/** Rows of A for which packing B^T would not pay. */
const FEW_ROWS: i32 = 12;

/** Bytes of A's rows that stay in the first cache, and of B's rows in the second. */
const A_BYTES: i32 = 24576;
const B_BYTES: i32 = 524288;

function matmulDots(c: usize, a: usize, b: usize, m: i32, n: i32, k: i32): void {
  const row = <usize>k << 2;
  const ldc = <usize>n << 2;
  const rowBytes = max(k << 2, 1);
  const mc = max(8, (A_BYTES / rowBytes) & ~3);
  const nc = max(16, (B_BYTES / rowBytes) & ~3);
  for (let j = 0; j < n; j += nc) {
    for (let i = 0; i < m; i += mc) {
      productDots(
        c + <usize>i * ldc + (<usize>j << 2), ldc,
        a + <usize>i * row, row,
        b + <usize>j * row, row,
        min(mc, m - i), min(nc, n - j), k,
      );
    }
  }
}

/** out[n] = a[k] B[k,n]: four rows of B are added at a time, so that out is passed k/4 times. */
function rowTimesMatrix(c: usize, a: usize, b: usize, n: i32, k: i32): void {
  const ldb = <usize>n << 2;
  memory.fill(c, 0, ldb);
  const wide = <usize>(n & ~3) << 2;
  let i = 0;
  for (; i + 4 <= k; i += 4, a += 16, b += ldb << 2) {
    const x0 = v128.load32_splat(a);
    const x1 = v128.load32_splat(a, 4);
    const x2 = v128.load32_splat(a, 8);
    const x3 = v128.load32_splat(a, 12);
    const b1 = b + ldb;
    const b2 = b1 + ldb;
    const b3 = b2 + ldb;
    let j: usize = 0;
    for (; j < wide; j += 16) {
      let y = madd(x0, v128.load(b + j), v128.load(c + j));
      y = madd(x1, v128.load(b1 + j), y);
      y = madd(x2, v128.load(b2 + j), y);
      v128.store(c + j, madd(x3, v128.load(b3 + j), y));
    }
    for (; j < ldb; j += 4) {
      store<f32>(
        c + j,
        load<f32>(c + j) +
          load<f32>(a) * load<f32>(b + j) +
          load<f32>(a, 4) * load<f32>(b1 + j) +
          load<f32>(a, 8) * load<f32>(b2 + j) +
          load<f32>(a, 12) * load<f32>(b3 + j),
      );
    }
  }
  for (; i < k; i++, a += 4, b += ldb) {
    const x0 = v128.load32_splat(a);
    let j: usize = 0;
    for (; j < wide; j += 16) v128.store(c + j, madd(x0, v128.load(b + j), v128.load(c + j)));
    for (; j < ldb; j += 4) {
      store<f32>(c + j, load<f32>(c + j) + load<f32>(a) * load<f32>(b + j));
    }
  }
}

/** Packs B[k, n] (row stride ldb), columns 0..width, as [k][8]; zeros where width ends. */
function packColumns(to: usize, b: usize, ldb: usize, width: i32, k: i32): void {
  if (width == 8) {
    for (let i = 0; i < k; i++, b += ldb, to += 32) {
      v128.store(to, v128.load(b));
      v128.store(to, v128.load(b, 16), 16);
    }
    return;
  }
  const zero = i32x4.splat(0);
  for (let i = 0; i < k; i++, b += ldb, to += 32) {
    v128.store(to, zero);
    v128.store(to, zero, 16);
    for (let j: usize = 0; j < <usize>width << 2; j += 4) store<u32>(to + j, load<u32>(b + j));
  }
}

/** Packs B stored [n, k] (row stride ldb), its rows 0..width, as [k][8]. */
function packRows(to: usize, b: usize, ldb: usize, width: i32, k: i32): void {
  if (width < 8) {
    memory.fill(to, 0, <usize>k << 5);
    for (let j = 0; j < width; j++, b += ldb, to += 4) {
      let at = to;
      for (let i: usize = 0; i < <usize>k << 2; i += 4, at += 32) store<u32>(at, load<u32>(b + i));
    }
    return;
  }
  turnFour(to, b, ldb, k);
  turnFour(to + 16, b + (ldb << 2), ldb, k);
}

/** Four rows of k floats side by side, 32 bytes a place along k: by blocks of 4 x 4. */
function turnFour(to: usize, b: usize, ldb: usize, k: i32): void {
  const b1 = b + ldb;
  const b2 = b1 + ldb;
  const b3 = b2 + ldb;
  const end = <usize>k << 2;
  let at: usize = 0;
  for (const whole = <usize>(k & ~3) << 2; at < whole; at += 16, to += 128) {
    const x0 = v128.load(b + at);
    const x1 = v128.load(b1 + at);
    const x2 = v128.load(b2 + at);
    const x3 = v128.load(b3 + at);
    const p0 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5);
    const p1 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5);
    const p2 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7);
    const p3 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<f64>(p0, p1, 0, 2));
    v128.store(to, v128.shuffle<f64>(p0, p1, 1, 3), 32);
    v128.store(to, v128.shuffle<f64>(p2, p3, 0, 2), 64);
    v128.store(to, v128.shuffle<f64>(p2, p3, 1, 3), 96);
  }
  for (; at < end; at += 4, to += 32) {
    store<u32>(to, load<u32>(b + at));
    store<u32>(to, load<u32>(b1 + at), 4);
    store<u32>(to, load<u32>(b2 + at), 8);
    store<u32>(to, load<u32>(b3 + at), 12);
  }
}

/** Packs `rows` of six rows of A, each element in all lanes, `[k][6][4]`; zeros for those missing. */
function spreadSix(a: usize, rowStep: usize, kStep: usize, rows: i32, k: i32): void {
  const end = SCRATCH_A + <usize>k * 96;
  for (let r = 0; r < 6; r++, a += rowStep) {
    let from = a;
    let to = SCRATCH_A + (<usize>r << 4);
    if (r < rows) {
      for (; to < end; to += 96, from += kStep) v128.store(to, v128.load32_splat(from));
    } else {
      for (; to < end; to += 96) v128.store(to, f32x4.splat(0));
    }
  }
}

/** Moves m x n floats. */
function moveTile(to: usize, ldTo: usize, from: usize, ldFrom: usize, m: i32, n: i32): void {
  for (let i = 0; i < m; i++, to += ldTo, from += ldFrom) {
    for (let j: usize = 0; j < <usize>n << 2; j += 4) store<u32>(to + j, load<u32>(from + j));
  }
}

/**
 * Sums of an element run along k in one order, whatever block or tile it lies in; as in
 * rowTimesMatrix.
 */
function matmulBlocks(
  c: usize, a: usize, b: usize, m: i32, n: i32, k: i32, transA: bool, transB: bool,
): void {
  const ldc = <usize>n << 2;
  const ldb = <usize>(transB ? k : n) << 2;
  const rowStep: usize = transA ? 4 : <usize>k << 2;
  const kStep: usize = transA ? <usize>m << 2 : 4;
  for (let j0 = 0; j0 < n; j0 += NC) {
    const columns = min(NC, n - j0);
    for (let l = 0; l < k; l += KC) {
      const depth = min(KC, k - l);
      const panel = <usize>depth << 5;
      let to = SCRATCH_B;
      for (let j = j0; j < j0 + columns; j += 8, to += panel) {
        const width = min(8, n - j);
        if (transB) packRows(to, b + <usize>j * ldb + (<usize>l << 2), ldb, width, depth);
        else packColumns(to, b + <usize>l * ldb + (<usize>j << 2), ldb, width, depth);
      }
      for (let i = 0; i < m; i += 6) {
        const rows = min(6, m - i);
        spreadSix(a + <usize>i * rowStep + <usize>l * kStep, rowStep, kStep, rows, depth);
        let out = c + <usize>i * ldc + (<usize>j0 << 2);
        let from = SCRATCH_B;
        for (let j = 0; j < columns; j += 8, out += 32, from += panel) {
          const width = min(8, columns - j);
          if (rows == 6 && width == 8) {
            tilePacked(out, ldc, SCRATCH_A, from, depth, l > 0);
          } else {
            if (l > 0) moveTile(SCRATCH_TILE, 32, out, ldc, rows, width);
            tilePacked(SCRATCH_TILE, 32, SCRATCH_A, from, depth, l > 0);
            moveTile(out, ldc, SCRATCH_TILE, 32, rows, width);
          }
        }
      }
    }
  }
}

export function matmul(
  out: usize, a: usize, b: usize,
  batch: i32, m: i32, n: i32, k: i32, transA: i32, transB: i32, strideA: i32, strideB: i32,
): void {
  // A single row or column lies in memory alike, transposed or not.
  if (m == 1) transA = 0;
  if (n == 1) transB = 1;
  const size = <usize>(m * n) << 2;
  if (k == 0) {
    memory.fill(out, 0, size * <usize>batch);
    return;
  }
  for (let i = 0; i < batch; i++) {
    if (!transA && transB && (m < FEW_ROWS || n == 1)) {
      matmulDots(out, a, b, m, n, k);
    } else if (!transA && m < 6) {
      for (let row = 0; row < m; row++) {
        rowTimesMatrix(out + (<usize>(row * n) << 2), a + (<usize>(row * k) << 2), b, n, k);
      }
    } else {
      matmulBlocks(out, a, b, m, n, k, transA != 0, transB != 0);
    }
    out += size;
    a += <usize>strideA << 2;
    b += <usize>strideB << 2;
  }
}
