// Step 2: the same loops, compiled ahead of time. Whole numbers stay in integer registers and nothing
// checks a bound; still one product at a time.
export function scalar(out: usize, x: usize, w: usize, m: i32, n: i32, k: i32): void {
  for (let row = 0; row < m; row++) {
    for (let j = 0; j < n; j++) {
      const a = x + row * k;
      const b = w + j * k;
      let sum = 0;
      for (let i = 0; i < k; i++) sum += <i32>load<i8>(a + i) * <i32>load<u8>(b + i);
      store<i32>(out + ((row * n + j) << 2), sum);
    }
  }
}
