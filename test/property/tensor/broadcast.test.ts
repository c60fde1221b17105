import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as ops from '../../../src/tensor/index.ts';
import { broadcastTo, ShapeError, scope, sumTo, type Tensor } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { at, build, type Nested, toNested } from '../../support/nested.ts';
import { seed, smallSize } from '../../support/sizes.ts';
import { Maker } from './gradient-cases.ts';

const lengths = fc.tuple(smallSize, smallSize, smallSize, smallSize);

/** Index of an operand that broadcasts: the last axes, and 0 where the length is 1. */
function seen(index: readonly number[], shape: readonly number[]): number[] {
  return shape.map((length, axis) =>
    length === 1 ? 0 : index[axis + index.length - shape.length],
  );
}

function naive(f: (a: number, b: number) => number, a: Tensor, b: Tensor): Nested {
  const [na, nb] = [toNested(a), toNested(b)];
  const rank = Math.max(a.rank, b.rank);
  const shape = Array.from({ length: rank }, (_, axis) => {
    const la = a.shape[axis - rank + a.rank] ?? 1;
    const lb = b.shape[axis - rank + b.rank] ?? 1;
    return la === 1 ? lb : la;
  });
  return build(shape, (index) =>
    Math.fround(f(at(na, seen(index, a.shape)), at(nb, seen(index, b.shape)))),
  );
}

const BINARY = {
  add: [ops.add, (a, b) => a + b],
  sub: [ops.sub, (a, b) => a - b],
  mul: [ops.mul, (a, b) => a * b],
  div: [ops.div, (a, b) => a / b],
  maximum: [ops.maximum, Math.max],
} satisfies Record<string, [(a: Tensor, b: Tensor) => Tensor, (a: number, b: number) => number]>;

for (const { name, backend } of backends()) {
  for (const [operation, [op, f]] of Object.entries(BINARY)) {
    test(`${name}: ${operation} broadcasts as nested arrays do`, () => {
      fc.assert(
        fc.property(lengths, seed, (dims, valueSeed) =>
          scope(() => {
            const make = new Maker(dims, valueSeed, backend);
            const [shapeA, shapeB] = make.broadcasting();
            const [a, b] = [make.any(...shapeA), make.positive(...shapeB)];
            // One f32 operation is rounded once, so results are equal, not near.
            assert.deepEqual(toNested(op(a, b)), naive(f, a, b));
          }),
        ),
        { numRuns: 60 },
      );
    });
  }

  test(`${name}: operands of rank 4, each repeating along other axes`, () => {
    fc.assert(
      fc.property(lengths, fc.nat(15), fc.nat(15), seed, (dims, maskA, maskB, valueSeed) =>
        scope(() => {
          const make = new Maker(dims, valueSeed, backend);
          const thin = (mask: number) => dims.map((n, axis) => ((mask >> axis) & 1 ? n : 1));
          const [a, b] = [make.any(...thin(maskA)), make.any(...thin(maskB))];
          assert.deepEqual(
            toNested(ops.sub(a, b)),
            naive((x, y) => x - y, a, b),
          );
        }),
      ),
      { numRuns: 60 },
    );
  });

  test(`${name}: sumTo is the transpose of broadcastTo`, () => {
    // <broadcastTo(x), y> = <x, sumTo(y)> says that every element is summed where it was copied
    // to. The grid's values have 12 bits and their sums fit f64, so only f32 sums round.
    const SUM_ROUNDING = 1e-4;
    fc.assert(
      fc.property(lengths, fc.nat(15), fc.nat(4), seed, (dims, mask, drop, valueSeed) =>
        scope(() => {
          const make = new Maker(dims, valueSeed, backend);
          const y = make.any(...dims);
          const thin = dims.map((n, axis) => ((mask >> axis) & 1 ? n : 1)).slice(drop);
          const x = make.any(...thin);
          const dot = (a: Tensor, b: Tensor) => {
            const other = b.toFloat32();
            return a.toFloat32().reduce((total, value, i) => total + value * other[i], 0);
          };
          const [up, down] = [broadcastTo(x, dims), sumTo(y, thin)];
          assert.deepEqual([up.shape, down.shape], [dims, thin]);
          assert.ok(Math.abs(dot(up, y) - dot(x, down)) <= SUM_ROUNDING * y.numel);
        }),
      ),
      { numRuns: 60 },
    );
  });

  test(`${name}: shapes that do not broadcast give a ShapeError with both`, () => {
    scope(() => {
      const [a, b] = [ops.zeros([2, 3], backend), ops.zeros([4, 3], backend)];
      for (const [op] of Object.values(BINARY)) {
        assert.throws(() => op(a, b), { name: 'ShapeError', message: /lhs \[2,3\], rhs \[4,3\]/ });
      }
      assert.throws(() => broadcastTo(a, [3]), ShapeError);
      assert.throws(() => broadcastTo(a, [2, 4]), ShapeError);
      assert.throws(() => sumTo(a, [2, 4]), ShapeError);
      assert.throws(() => sumTo(a, [1, 2, 3]), ShapeError);
    });
  });

  test(`${name}: five axes that do not merge are refused, those that do are one loop`, () => {
    scope(() => {
      const a = ops.zeros([2, 2, 2, 2, 2], backend);
      assert.deepEqual(ops.add(a, a).shape, a.shape);
      assert.deepEqual(ops.add(a, ops.zeros([2], backend)).shape, a.shape);
      assert.throws(() => ops.add(a, ops.zeros([2, 1, 2, 1, 2], backend)), ShapeError);
    });
  });
}
