// Step 6: relaxed SIMD multiplies bytes as they are, 16 products an instruction, and needs no widening of
// operands. Its first form adds pairs into 16 bits (weights of 7 bits cannot overflow them) and a second
// instruction adds those up; that is what a CPU without VNNI has. Four rows share each vector of weights.
export function relaxed(out: usize, x: usize, w: usize, m: i32, n: i32, k: i32): void {
  if (!ASC_FEATURE_RELAXED_SIMD) return;
  const ones = i16x8.splat(1);
  for (let row = 0; row < m; row += 4) {
    let weights = w;
    for (let j = 0; j < n; j += 8) {
      let s00 = i32x4.splat(0);
      let s01 = s00;
      let s10 = s00;
      let s11 = s00;
      let s20 = s00;
      let s21 = s00;
      let s30 = s00;
      let s31 = s00;
      let a = x + row * k;
      const end = a + k;
      for (; a < end; a += 4) {
        const w0 = v128.load(weights);
        const w1 = v128.load(weights, 16);
        let q = v128.load32_splat(a);
        s00 = i32x4.add(s00, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w0), ones));
        s01 = i32x4.add(s01, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w1), ones));
        q = v128.load32_splat(a + k);
        s10 = i32x4.add(s10, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w0), ones));
        s11 = i32x4.add(s11, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w1), ones));
        q = v128.load32_splat(a + 2 * k);
        s20 = i32x4.add(s20, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w0), ones));
        s21 = i32x4.add(s21, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w1), ones));
        q = v128.load32_splat(a + 3 * k);
        s30 = i32x4.add(s30, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w0), ones));
        s31 = i32x4.add(s31, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(q, w1), ones));
        weights += 32;
      }
      const to = out + ((row * n + j) << 2);
      const next = <usize>n << 2;
      v128.store(to, s00);
      v128.store(to, s01, 16);
      v128.store(to + next, s10);
      v128.store(to + next, s11, 16);
      v128.store(to + 2 * next, s20);
      v128.store(to + 2 * next, s21, 16);
      v128.store(to + 3 * next, s30);
      v128.store(to + 3 * next, s31, 16);
    }
  }
}
