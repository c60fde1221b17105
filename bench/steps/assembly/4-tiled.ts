// Step 4: a tile of four rows by two columns stays in registers. What is loaded and widened once is
// multiplied several times: six loads for eight products, where step 3 had two for one. The sums still
// have to be added up across their lanes at the end.
import { lanes } from './3-simd';

export function tiled(out: usize, x: usize, w: usize, m: i32, n: i32, k: i32): void {
  for (let j = 0; j < n; j += 2) {
    for (let row = 0; row < m; row += 4) {
      const b0 = w + j * k;
      const b1 = b0 + k;
      const a0 = x + row * k;
      const a1 = a0 + k;
      const a2 = a1 + k;
      const a3 = a2 + k;
      let s00 = i32x4.splat(0);
      let s01 = s00;
      let s10 = s00;
      let s11 = s00;
      let s20 = s00;
      let s21 = s00;
      let s30 = s00;
      let s31 = s00;
      for (let i = 0; i < k; i += 8) {
        const w0 = v128.load8x8_u(b0 + i);
        const w1 = v128.load8x8_u(b1 + i);
        let q = v128.load8x8_s(a0 + i);
        s00 = i32x4.add(s00, i32x4.dot_i16x8_s(q, w0));
        s01 = i32x4.add(s01, i32x4.dot_i16x8_s(q, w1));
        q = v128.load8x8_s(a1 + i);
        s10 = i32x4.add(s10, i32x4.dot_i16x8_s(q, w0));
        s11 = i32x4.add(s11, i32x4.dot_i16x8_s(q, w1));
        q = v128.load8x8_s(a2 + i);
        s20 = i32x4.add(s20, i32x4.dot_i16x8_s(q, w0));
        s21 = i32x4.add(s21, i32x4.dot_i16x8_s(q, w1));
        q = v128.load8x8_s(a3 + i);
        s30 = i32x4.add(s30, i32x4.dot_i16x8_s(q, w0));
        s31 = i32x4.add(s31, i32x4.dot_i16x8_s(q, w1));
      }
      const to = out + ((row * n + j) << 2);
      const next = <usize>n << 2;
      store<i32>(to, lanes(s00));
      store<i32>(to, lanes(s01), 4);
      store<i32>(to + next, lanes(s10));
      store<i32>(to + next, lanes(s11), 4);
      store<i32>(to + 2 * next, lanes(s20));
      store<i32>(to + 2 * next, lanes(s21), 4);
      store<i32>(to + 3 * next, lanes(s30));
      store<i32>(to + 3 * next, lanes(s31), 4);
    }
  }
}
