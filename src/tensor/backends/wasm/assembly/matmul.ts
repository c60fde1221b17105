// Matrix products, blocked so that what is read often stays near.
//   A B^T (rows of both contiguous): sums along k, nothing packed.
//   A B, A^T B, A^T B^T: eight columns of B packed at a time; A packed when it is transposed.
import { KC, MC, SCRATCH_A, SCRATCH_B, SCRATCH_TILE } from './layout';
import { madd } from './math';
import { productDots, tilePanel, tileRow, tileRows } from './tiles';

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
function packColumns(b: usize, ldb: usize, width: i32, k: i32): void {
  let to = SCRATCH_B;
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
function packRows(b: usize, ldb: usize, width: i32, k: i32): void {
  if (width < 8) memory.fill(SCRATCH_B, 0, <usize>k << 5);
  for (let j = 0; j < width; j++, b += ldb) {
    let to = SCRATCH_B + (<usize>j << 2);
    for (let i: usize = 0; i < <usize>k << 2; i += 4, to += 32) store<u32>(to, load<u32>(b + i));
  }
}

/** Packs A stored [k, m] (row stride lda), columns 0..m, as [m/4][k][4]; zeros past m. */
function packPanels(a: usize, lda: usize, m: i32, k: i32): void {
  let to = SCRATCH_A;
  let i = 0;
  for (; i + 4 <= m; i += 4, a += 16) {
    let from = a;
    for (let l = 0; l < k; l++, from += lda, to += 16) v128.store(to, v128.load(from));
  }
  const rest = <usize>(m - i) << 2;
  if (!rest) return;
  const zero = i32x4.splat(0);
  for (let l = 0; l < k; l++, a += lda, to += 16) {
    v128.store(to, zero);
    for (let j: usize = 0; j < rest; j += 4) store<u32>(to + j, load<u32>(a + j));
  }
}

/** Moves (or adds) the first m x n results of the scratch tile to C. */
function spill(c: usize, ldc: usize, m: i32, n: i32, accumulate: bool): void {
  let from = SCRATCH_TILE;
  for (let i = 0; i < m; i++, c += ldc, from += 32) {
    for (let j: usize = 0; j < <usize>n << 2; j += 4) {
      const value = load<f32>(from + j);
      store<f32>(c + j, accumulate ? load<f32>(c + j) + value : value);
    }
  }
}

/** One packed panel of B times a block of A, 1 <= width <= 8 columns of C. */
function panelProduct(
  c: usize, ldc: usize, a: usize, lda: usize, packed: bool,
  m: i32, width: i32, k: i32, accumulate: bool,
): void {
  const whole = width == 8;
  let i = 0;
  for (; i + 4 <= m; i += 4, c += ldc << 2) {
    const to = whole ? c : SCRATCH_TILE;
    const step = whole ? ldc : 32;
    const add = whole && accumulate;
    if (packed) {
      tilePanel(to, step, a, 16, SCRATCH_B, 32, k, add);
      a += <usize>k << 4;
    } else {
      tileRows(to, step, a, lda, SCRATCH_B, 32, k, add);
      a += lda << 2;
    }
    if (!whole) spill(c, ldc, 4, width, accumulate);
  }
  if (i < m && packed) {
    tilePanel(SCRATCH_TILE, 32, a, 16, SCRATCH_B, 32, k, false);
    spill(c, ldc, m - i, width, accumulate);
    return;
  }
  for (; i < m; i++, c += ldc, a += lda) {
    if (whole) {
      tileRow(c, a, 4, SCRATCH_B, 32, k, accumulate);
    } else {
      tileRow(SCRATCH_TILE, a, 4, SCRATCH_B, 32, k, false);
      spill(c, ldc, 1, width, accumulate);
    }
  }
}

function matmulPanels(
  c: usize, a: usize, b: usize, m: i32, n: i32, k: i32, transA: bool, transB: bool,
): void {
  const ldc = <usize>n << 2;
  const lda = <usize>(transA ? m : k) << 2;
  const ldb = <usize>(transB ? k : n) << 2;
  for (let i = 0; i < m; i += MC) {
    const rows = min(MC, m - i);
    for (let l = 0; l < k; l += KC) {
      const depth = min(KC, k - l);
      let block = a + <usize>i * lda + (<usize>l << 2);
      if (transA) {
        packPanels(a + <usize>l * lda + (<usize>i << 2), lda, rows, depth);
        block = SCRATCH_A;
      }
      for (let j = 0; j < n; j += 8) {
        const width = min(8, n - j);
        if (transB) packRows(b + <usize>j * ldb + (<usize>l << 2), ldb, width, depth);
        else packColumns(b + <usize>l * ldb + (<usize>j << 2), ldb, width, depth);
        panelProduct(
          c + <usize>i * ldc + (<usize>j << 2), ldc, block, lda, transA,
          rows, width, depth, l > 0,
        );
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
    if (!transA && transB) {
      matmulDots(out, a, b, m, n, k);
    } else if (!transA && m < 4) {
      for (let row = 0; row < m; row++) {
        rowTimesMatrix(out + (<usize>(row * n) << 2), a + (<usize>(row * k) << 2), b, n, k);
      }
    } else {
      matmulPanels(out, a, b, m, n, k, transA != 0, transB != 0);
    }
    out += size;
    a += <usize>strideA << 2;
    b += <usize>strideB << 2;
  }
}
