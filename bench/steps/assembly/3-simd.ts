// Step 3: sixteen products at a time. SIMD128 multiplies pairs of 16-bit numbers and adds each pair, so
// bytes are widened first: two instructions of four do arithmetic, and each vector of weights is read
// again for every row.

/** Sum of the four lanes. */
export function lanes(v: v128): i32 {
  return (
    i32x4.extract_lane(v, 0) +
    i32x4.extract_lane(v, 1) +
    i32x4.extract_lane(v, 2) +
    i32x4.extract_lane(v, 3)
  );
}

export function simd(out: usize, x: usize, w: usize, m: i32, n: i32, k: i32): void {
  for (let row = 0; row < m; row++) {
    for (let j = 0; j < n; j++) {
      const a = x + row * k;
      const b = w + j * k;
      let sum = i32x4.splat(0);
      for (let i = 0; i < k; i += 8) {
        sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load8x8_s(a + i), v128.load8x8_u(b + i)));
      }
      store<i32>(out + ((row * n + j) << 2), lanes(sum));
    }
  }
}
