/** A symmetric positive definite matrix `[n, n]` as lower triangle L, row-major: A = L L^T. */
export interface CholeskyFactor {
  readonly n: number;
  readonly lower: Float64Array;
}

/**
 * Cholesky's factorization of A + ridge I, a row after the other: n^3 / 6 products, all of them over
 * rows that lie side by side.
 * @param matrix `[n, n]`, symmetric; its lower triangle is read
 * @throws RangeError where it is not positive definite
 */
export function cholesky(matrix: Float64Array, n: number, ridge: number): CholeskyFactor {
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let j = 0; j <= i; j++) {
      const other = j * n;
      let sum = matrix[row + j];
      for (let k = 0; k < j; k++) sum -= lower[row + k] * lower[other + k];
      if (j < i) lower[row + j] = sum / lower[other + j];
      else {
        const pivot = sum + ridge;
        if (!(pivot > 0)) throw new RangeError(`cholesky: pivot ${i} is ${pivot}`);
        lower[row + i] = Math.sqrt(pivot);
      }
    }
  }
  return { n, lower };
}

/** X of A X = B, B `[n, m]` row-major, by substitution forwards and backwards. */
export function solveCholesky({ n, lower }: CholeskyFactor, b: Float64Array): Float64Array {
  const m = b.length / n;
  const x = b.slice();
  const subtract = (to: number, from: number, factor: number) => {
    for (let c = 0; c < m; c++) x[to * m + c] -= factor * x[from * m + c];
  };
  const divide = (row: number) => {
    for (let c = 0; c < m; c++) x[row * m + c] /= lower[row * n + row];
  };
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) subtract(i, k, lower[i * n + k]);
    divide(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    divide(i);
    for (let k = 0; k < i; k++) subtract(k, i, lower[i * n + k]);
  }
  return x;
}

/** The diagonal of A^-1: sums of squares of the columns of L^-1. */
export function inverseDiagonal({ n, lower }: CholeskyFactor): Float64Array {
  const diagonal = new Float64Array(n);
  const column = new Float64Array(n);
  for (let j = 0; j < n; j++) {
    column[j] = 1 / lower[j * n + j];
    let squares = column[j] * column[j];
    for (let i = j + 1; i < n; i++) {
      let sum = 0;
      for (let k = j; k < i; k++) sum -= lower[i * n + k] * column[k];
      column[i] = sum / lower[i * n + i];
      squares += column[i] * column[i];
    }
    diagonal[j] = squares;
  }
  return diagonal;
}

/** Kernel ridge regression of centred targets, and what each row is predicted to be without itself. */
export interface RidgeFit {
  /** Dual weights `[n, m]`: predictions are k(x, rows) times them. */
  readonly dual: Float64Array;
  /** Leave-one-out predictions `[n, m]`: y_i - dual_i / (A^-1)_ii, A = K + ridge I. */
  readonly leftOut: Float64Array;
}

/**
 * dual = (K + ridge I)^-1 Y, with the exact leave-one-out predictions (Allen 1974).
 * @param kernel `[n, n]`
 * @param targets `[n, m]`
 */
export function kernelRidge(
  kernel: Float64Array,
  targets: Float64Array,
  n: number,
  ridge: number,
): RidgeFit {
  const factor = cholesky(kernel, n, ridge);
  const dual = solveCholesky(factor, targets);
  const diagonal = inverseDiagonal(factor);
  const m = targets.length / n;
  const leftOut = targets.map((y, i) => y - dual[i] / diagonal[Math.floor(i / m)]);
  return { dual, leftOut };
}
