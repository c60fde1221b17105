// Strided copy: slices, permutations, concatenation, broadcasting to memory.

/** A transposition of `rows` x `columns`, out contiguous along columns, x along rows; 4 x 4 blocks. */
function transpose(out: usize, outStride: usize, x: usize, xStride: usize, rows: i32, columns: i32): void {
  let i = 0;
  for (; i + 4 <= rows; i += 4) {
    let q = out + <usize>i * outStride;
    let p = x + (<usize>i << 2);
    let j = 0;
    for (; j + 4 <= columns; j += 4, q += 16, p += xStride << 2) {
      const a = v128.load(p);
      const b = v128.load(p + xStride);
      const c = v128.load(p + (xStride << 1));
      const d = v128.load(p + xStride * 3);
      const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
      const ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
      const cd0 = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
      const cd1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
      v128.store(q, v128.shuffle<f32>(ab0, cd0, 0, 1, 4, 5));
      v128.store(q + outStride, v128.shuffle<f32>(ab0, cd0, 2, 3, 6, 7));
      v128.store(q + (outStride << 1), v128.shuffle<f32>(ab1, cd1, 0, 1, 4, 5));
      v128.store(q + outStride * 3, v128.shuffle<f32>(ab1, cd1, 2, 3, 6, 7));
    }
    for (; j < columns; j++, q += 4, p += xStride) {
      const column = v128.load(p);
      v128.store_lane<f32>(q, column, 0);
      v128.store_lane<f32>(q + outStride, column, 1);
      v128.store_lane<f32>(q + (outStride << 1), column, 2);
      v128.store_lane<f32>(q + outStride * 3, column, 3);
    }
  }
  for (; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      store<f32>(
        out + <usize>i * outStride + (<usize>j << 2),
        load<f32>(x + (<usize>i << 2) + <usize>j * xStride),
      );
    }
  }
}

export function copy(
  out: usize, outOffset: i32, x: usize, xOffset: i32,
  d0: i32, d1: i32, d2: i32, d3: i32,
  o0: i32, o1: i32, o2: i32, o3: i32,
  x0: i32, x1: i32, x2: i32, x3: i32,
): void {
  out += <usize>outOffset << 2;
  x += <usize>xOffset << 2;
  for (let merges = 0; merges < 3; merges++) {
    if (d3 == 1) {
      d3 = d2;
      o3 = o2;
      x3 = x2;
    } else if (d2 == 1 || (o2 == d3 * o3 && x2 == d3 * x3)) {
      d3 *= d2;
    } else break;
    d2 = d1; o2 = o1; x2 = x1;
    d1 = d0; o1 = o0; x1 = x0;
    d0 = 1; o0 = 0; x0 = 0;
  }
  const so = <usize>o3 << 2;
  const sx = <usize>x3 << 2;
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      let q = out + (<usize>(i0 * o0 + i1 * o1) << 2);
      let p = x + (<usize>(i0 * x0 + i1 * x1) << 2);
      if (o3 == 1 && x2 == 1 && x3 != 1) {
        transpose(q, <usize>o2 << 2, p, sx, d2, d3);
        continue;
      }
      for (let i2 = 0; i2 < d2; i2++, q += <usize>o2 << 2, p += <usize>x2 << 2) {
        if (so == 4 && sx == 4) {
          memory.copy(q, p, <usize>d3 << 2);
        } else {
          let qi = q;
          let pi = p;
          for (let i3 = 0; i3 < d3; i3++, qi += so, pi += sx) store<u32>(qi, load<u32>(pi));
        }
      }
    }
  }
}
