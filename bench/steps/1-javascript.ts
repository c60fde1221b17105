// Step 1: what the product is. Three loops over typed arrays; every number is a double to JavaScript's
// eyes, and the engine finds out again and again that it is whole.

/** Sums [M,N] of x [M,K] times the rows of w [N,K]. */
export function javascript(
  out: Int32Array,
  x: Int8Array,
  w: Uint8Array,
  m: number,
  n: number,
  k: number,
): void {
  for (let row = 0; row < m; row++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[row * k + i] * w[j * k + i];
      out[row * n + j] = sum;
    }
  }
}
