// Step 5: weights lie as they are read, [N/8][K/4][8 columns][4 inputs]. Four activations, repeated over
// a vector, meet four inputs of four columns at once: every lane is a column of its own, nothing is added
// across lanes, and memory is read from front to back. Without relaxed SIMD a dot wants 16-bit numbers,
// so bytes at even and odd places are taken apart by a mask and a shift.
export function packed(out: usize, x: usize, w: usize, m: i32, n: i32, k: i32): void {
  const low = i16x8.splat(255);
  for (let row = 0; row < m; row += 2) {
    let weights = w;
    for (let j = 0; j < n; j += 8) {
      let s00 = i32x4.splat(0);
      let s01 = s00;
      let s10 = s00;
      let s11 = s00;
      const a0 = x + row * k;
      const a1 = a0 + k;
      for (let i = 0; i < k; i += 4) {
        const p0 = v128.load(weights);
        const p1 = v128.load(weights, 16);
        const e0 = v128.and(p0, low);
        const o0 = i16x8.shr_u(p0, 8);
        const e1 = v128.and(p1, low);
        const o1 = i16x8.shr_u(p1, 8);
        let quad = v128.load32_splat(a0 + i);
        let even = i16x8.shr_s(i16x8.shl(quad, 8), 8);
        let odd = i16x8.shr_s(quad, 8);
        s00 = i32x4.add(s00, i32x4.add(i32x4.dot_i16x8_s(even, e0), i32x4.dot_i16x8_s(odd, o0)));
        s01 = i32x4.add(s01, i32x4.add(i32x4.dot_i16x8_s(even, e1), i32x4.dot_i16x8_s(odd, o1)));
        quad = v128.load32_splat(a1 + i);
        even = i16x8.shr_s(i16x8.shl(quad, 8), 8);
        odd = i16x8.shr_s(quad, 8);
        s10 = i32x4.add(s10, i32x4.add(i32x4.dot_i16x8_s(even, e0), i32x4.dot_i16x8_s(odd, o0)));
        s11 = i32x4.add(s11, i32x4.add(i32x4.dot_i16x8_s(even, e1), i32x4.dot_i16x8_s(odd, o1)));
        weights += 32;
      }
      const to = out + ((row * n + j) << 2);
      const next = <usize>n << 2;
      v128.store(to, s00);
      v128.store(to, s01, 16);
      v128.store(to + next, s10);
      v128.store(to + next, s11, 16);
    }
  }
}
