// Operations against other ways to say the same: naive loops, or compositions of simpler ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as ops from '../../../src/tensor/index.ts';
import {
  reshape,
  scope,
  slice,
  softmax,
  type Tensor,
  transpose,
} from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { at, build, type Nested, toNested } from '../../support/nested.ts';
import { seed, size, smallSize } from '../../support/sizes.ts';
import { Maker } from './gradient-cases.ts';

/** Values of a few units in f32, summed in another order over at most a few hundred terms. */
const CLOSE = 1e-4;

function assertClose(actual: Tensor, expected: Nested): void {
  const flat = (nested: Nested): number[] =>
    typeof nested === 'number' ? [nested] : nested.flatMap(flat);
  const want = flat(expected);
  const got = actual.toArray();
  assert.equal(got.length, want.length);
  want.forEach((value, i) => {
    assert.ok(
      Math.abs(got[i] - value) <= CLOSE * (1 + Math.abs(value)),
      `element ${i} of [${actual.shape}]: ${got[i]}, expected ${value}`,
    );
  });
}

for (const { name, backend } of backends()) {
  const holds = (
    dims: fc.Arbitrary<[number, number, number, number]>,
    body: (make: Maker) => void,
  ) =>
    fc.assert(
      fc.property(dims, seed, (lengths, valueSeed) =>
        scope(() => body(new Maker(lengths, valueSeed, backend))),
      ),
      { numRuns: 40 },
    );

  test(`${name}: matmul is the sum of products, for all flags and batches`, () => {
    holds(fc.tuple(size, size, size, smallSize), (make) => {
      const [m, n, k, batch] = make.dims;
      const [transA, transB] = [make.coin(), make.coin()];
      const lead = (): number[] => make.pick([], [1], [batch]);
      const a = make.any(...lead(), ...(transA ? [k, m] : [m, k]));
      const b = make.any(...lead(), ...(transB ? [n, k] : [k, n]));
      const [na, nb] = [toNested(a), toNested(b)];
      const entry = (x: Tensor, nested: Nested, i: number | undefined, row: number, col: number) =>
        at(nested, [...(x.rank === 3 ? [x.shape[0] === 1 ? 0 : (i ?? 0)] : []), row, col]);
      const y = ops.matmul(a, b, { transA, transB });
      const expected = build(y.shape, (index) => {
        const [col, row, i] = index.toReversed();
        let total = 0;
        for (let p = 0; p < k; p++) {
          const left = transA ? entry(a, na, i, p, row) : entry(a, na, i, row, p);
          total += left * (transB ? entry(b, nb, i, col, p) : entry(b, nb, i, p, col));
        }
        return total;
      });
      assert.deepEqual(y.shape.slice(-2), [m, n]);
      assertClose(y, expected);
    });
  });

  test(`${name}: reductions are those of nested arrays`, () => {
    holds(fc.tuple(smallSize, smallSize, smallSize, smallSize), (make) => {
      const shape = make.shape();
      const axis = make.rng.int(shape.length);
      const [x] = make.apart(shape);
      const own = toNested(x);
      const line = (index: number[]) =>
        Array.from({ length: shape[axis] }, (_, i) => at(own, index.toSpliced(axis, 0, i)));
      const rest = shape.toSpliced(axis, 1);
      const total = (index: number[]) => line(index).reduce((t, v) => t + v, 0);
      assertClose(ops.sum(x, axis), build(rest, total));
      assertClose(
        ops.mean(x, axis),
        build(rest, (index) => total(index) / shape[axis]),
      );
      assertClose(
        ops.max(x, axis),
        build(rest, (index) => Math.max(...line(index))),
      );
      assertClose(
        ops.argmax(x, axis),
        build(rest, (index) => line(index).indexOf(Math.max(...line(index)))),
      );
      assert.deepEqual(ops.sum(x, axis, { keepDims: true }).shape, shape.with(axis, 1));
    });
  });

  test(`${name}: attention is softmax(q k^T) v within each segment, with and without a past`, () => {
    holds(fc.tuple(size, smallSize, smallSize, size), (make) => {
      const [rows, kvHeads, group, headDim] = make.dims;
      const heads = kvHeads * group;
      const past = make.pick(0, 1, 5);
      const [q, k, v] = [heads, kvHeads, kvHeads].map((h) => make.any(rows, h, headDim));
      const [pastK, pastV] = [
        make.any(past + 2, kvHeads, headDim),
        make.any(past + 2, kvHeads, headDim),
      ];
      const first = make.rng.int(rows + 1);
      const causal = make.coin();
      const bounds = [0, first, first, rows - first];
      const out = ops.attention(q, k, v, {
        segments: make.int(bounds, [2, 2]),
        causal,
        scale: 0.5,
        past: past > 0 ? { k: pastK, v: pastV, length: past } : undefined,
      });
      for (const [start, end] of [
        [0, first],
        [first, rows],
      ]) {
        if (start === end) continue;
        for (let h = 0; h < heads; h++) {
          // One head of one segment as plain matrices [rows, headDim].
          const head = (x: Tensor, index: number, from: number, to: number) =>
            reshape(slice(slice(x, 0, from, to), 1, index, index + 1), [to - from, headDim]);
          const kv = Math.floor(h / group);
          const all = (own: Tensor, before: Tensor) =>
            ops.concat([head(before, kv, 0, past), head(own, kv, start, end)], 0);
          const scores = ops.affine(
            ops.matmul(head(q, h, start, end), all(k, pastK), { transB: true }),
            0.5,
          );
          const hidden = build(scores.shape, ([i, j]) => (causal && j - past > i ? -1e9 : 0));
          const masked = ops.add(scores, ops.tensor(hidden, undefined, { backend }));
          const expected = ops.matmul(softmax(masked), all(v, pastV));
          assertClose(head(out, h, start, end), toNested(expected));
        }
      }
    });
  });

  test(`${name}: softmax sums to 1, and logSoftmax is its logarithm, at any offset`, () => {
    holds(fc.tuple(size, size, smallSize, smallSize), (make) => {
      const x = make.any(make.dims[0], make.dims[1]);
      const shifted = ops.affine(x, 1, make.pick(-1000, 0, 1000));
      const y = softmax(shifted);
      assertClose(
        ops.sum(y, -1),
        build([make.dims[0]], () => 1),
      );
      assertClose(ops.exp(ops.logSoftmax(shifted)), toNested(y));
    });
  });

  test(`${name}: rope keeps the length of every pair and depends on distance alone`, () => {
    holds(fc.tuple(size, smallSize, size, smallSize), (make) => {
      const [rows, heads, half] = make.dims;
      const tables = [Math.cos, Math.sin].map((f) =>
        ops.tensor(
          build([40, half], ([p, j]) => f(p * 0.7 ** j)),
          undefined,
          { backend },
        ),
      );
      const at0 = make.ids(rows, 20);
      const at9 = make.int(
        [...at0.toArray()].map((p) => p + 9),
        [rows],
      );
      const [q, k] = [make.any(rows, heads, 2 * half), make.any(rows, heads, 2 * half)];
      const zero = make.int(new Array(rows).fill(0), [rows]);
      const nine = make.int(new Array(rows).fill(9), [rows]);
      const turn = (x: Tensor, positions: Tensor) => ops.rope(x, tables[0], tables[1], positions);
      const products = (a: Tensor, b: Tensor) => ops.sum(ops.mul(a, b), -1);
      assertClose(products(turn(q, at0), turn(q, at0)), toNested(products(q, q)));
      assertClose(
        products(turn(q, at9), turn(k, nine)),
        toNested(products(turn(q, at0), turn(k, zero))),
      );
    });
  });

  test(`${name}: transposing both operands transposes the product`, () => {
    holds(fc.tuple(size, size, size, smallSize), (make) => {
      const [m, n, k] = make.dims;
      const [a, b] = [make.any(m, k), make.any(k, n)];
      const y = ops.matmul(a, b);
      assertClose(transpose(ops.matmul(transpose(b), transpose(a))), toNested(y));
      assertClose(ops.matmul(a, transpose(b), { transB: true }), toNested(y));
    });
  });
}
