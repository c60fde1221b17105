import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  cholesky,
  inverseDiagonal,
  kernelRidge,
  solveCholesky,
} from '../../../../src/model/side/ridge.ts';
import { random } from '../../../../src/tensor/index.ts';
import { seed } from '../../../support/sizes.ts';

/** Float64, matrices of up to 17 rows whose condition is some hundreds. */
const CLOSE = 1e-9;

const size = fc.constantFrom(1, 2, 3, 5, 8, 17);
const RIDGE = 0.3;

/** X X^T of n normal rows, `[n, n]`. */
function gram(n: number, from: number): Float64Array {
  const rng = random(from);
  const x = Array.from({ length: n }, () => Array.from({ length: n + 2 }, () => rng.normal()));
  return Float64Array.from(
    { length: n * n },
    (_, at) => x[Math.floor(at / n)].reduce((sum, v, k) => sum + v * x[at % n][k], 0) / n,
  );
}

/** (A + ridge I) times x, `[n, m]`. */
function multiply(a: Float64Array, x: Float64Array, n: number, ridge: number): Float64Array {
  const m = x.length / n;
  return x.map((value, at) => {
    const [i, c] = [Math.floor(at / m), at % m];
    let sum = ridge * value;
    for (let k = 0; k < n; k++) sum += a[i * n + k] * x[k * m + c];
    return sum;
  });
}

const near = (actual: Float64Array, expected: Float64Array) =>
  actual.forEach((value, i) => {
    assert.ok(Math.abs(value - expected[i]) <= CLOSE, `[${i}]: ${value}, ${expected[i]}`);
  });

describe('kernel ridge', () => {
  it('solves what it was given', () => {
    fc.assert(
      fc.property(size, fc.constantFrom(1, 2, 3), seed, (n, m, from) => {
        const a = gram(n, from);
        const rng = random(from).fork('b');
        const b = Float64Array.from({ length: n * m }, () => rng.normal());
        near(multiply(a, solveCholesky(cholesky(a, n, RIDGE), b), n, RIDGE), b);
      }),
    );
  });

  it('has the diagonal of the inverse', () => {
    fc.assert(
      fc.property(size, seed, (n, from) => {
        const factor = cholesky(gram(n, from), n, RIDGE);
        const unit = Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
        const inverse = solveCholesky(factor, unit);
        const diagonal = Float64Array.from({ length: n }, (_, i) => inverse[i * n + i]);
        near(inverseDiagonal(factor), diagonal);
      }),
    );
  });

  it('predicts each row as if it had been solved without it', () => {
    fc.assert(
      fc.property(fc.constantFrom(2, 3, 5, 8), seed, (n, from) => {
        const a = gram(n, from);
        const rng = random(from).fork('y');
        const y = Float64Array.from({ length: n }, () => rng.normal());
        const { leftOut } = kernelRidge(a, y, n, RIDGE);
        const expected = y.map((_, out) => {
          const rest = Array.from({ length: n }, (_, i) => i).filter((i) => i !== out);
          const part = Float64Array.from(rest.flatMap((i) => rest.map((j) => a[i * n + j])));
          const targets = Float64Array.from(rest, (i) => y[i]);
          const { dual } = kernelRidge(part, targets, n - 1, RIDGE);
          return rest.reduce((sum, i, k) => sum + a[out * n + i] * dual[k], 0);
        });
        near(leftOut, expected);
      }),
    );
  });

  it('refuses a matrix that is not positive definite', () => {
    assert.throws(() => cholesky(Float64Array.of(1, 2, 2, 1), 2, 0), RangeError);
  });
});
