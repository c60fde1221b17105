import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Backend,
  concat,
  numelOf,
  random,
  reshape,
  type Shape,
  scope,
  slice,
  stack,
  type Tensor,
  tensor,
  transpose,
} from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { at, build, toNested } from '../../support/nested.ts';
import { seed, smallSize } from '../../support/sizes.ts';

const shapes = fc.array(smallSize, { minLength: 1, maxLength: 4 });
const dtypes = fc.constantFrom('f32' as const, 'i32' as const);

/** 0, 1, 2, ...: every element is known by its value. */
function counting(shape: Shape, dtype: 'f32' | 'i32', backend: Backend, from = 0): Tensor {
  const values = Array.from({ length: numelOf(shape) }, (_, i) => from + i);
  return tensor(dtype === 'f32' ? Float32Array.from(values) : Int32Array.from(values), shape, {
    backend,
  });
}

for (const { name, backend } of backends()) {
  const holds = (body: (shape: number[], dtype: 'f32' | 'i32', valueSeed: number) => void) =>
    fc.assert(
      fc.property(shapes, dtypes, seed, (shape, dtype, valueSeed) =>
        scope(() => body(shape, dtype, valueSeed)),
      ),
      { numRuns: 80 },
    );

  test(`${name}: transpose moves axes as nested arrays do, and back`, () => {
    holds((shape, dtype, valueSeed) => {
      const x = counting(shape, dtype, backend);
      const axes = [...random(valueSeed).permutation(shape.length)];
      const y = transpose(x, axes);
      const own = toNested(x);
      const expected = build(
        axes.map((axis) => shape[axis]),
        (index) =>
          at(
            own,
            axes.map((_, axis) => index[axes.indexOf(axis)]),
          ),
      );
      assert.equal(y.dtype, dtype);
      assert.deepEqual(toNested(y), expected);
      const inverse = axes.map((_, axis) => axes.indexOf(axis));
      assert.deepEqual(toNested(transpose(y, inverse)), own);
    });
  });

  test(`${name}: slices put side by side are the whole`, () => {
    holds((shape, dtype, valueSeed) => {
      const rng = random(valueSeed);
      const x = counting(shape, dtype, backend);
      const axis = rng.int(shape.length);
      const [a, b] = [rng.int(shape[axis] + 1), rng.int(shape[axis] + 1)].sort((p, q) => p - q);
      const parts = [slice(x, axis, 0, a), slice(x, axis - shape.length, a, b), slice(x, axis, b)];
      const own = toNested(x);
      assert.deepEqual(
        toNested(parts[1]),
        build(parts[1].shape, (index) =>
          at(
            own,
            index.map((i, d) => (d === axis ? i + a : i)),
          ),
        ),
      );
      assert.deepEqual(toNested(concat(parts, axis)), own);
    });
  });

  test(`${name}: stack puts tensors along a new axis`, () => {
    holds((long, dtype, valueSeed) => {
      const shape = long.slice(0, 3);
      const rng = random(valueSeed);
      const axis = rng.int(shape.length + 1);
      const xs = [0, 1, 2].map((i) => counting(shape, dtype, backend, 1000 * i));
      const nested = xs.map(toNested);
      const y = stack(xs, axis);
      assert.deepEqual(
        toNested(y),
        build([...shape.slice(0, axis), 3, ...shape.slice(axis)], (index) =>
          at(nested[index[axis]], index.toSpliced(axis, 1)),
        ),
      );
    });
  });

  test(`${name}: reshape keeps the order and shares the memory`, () => {
    holds((shape, dtype, valueSeed) => {
      const x = counting(shape, dtype, backend);
      const { bytes } = backend.memory();
      const other = [...shape];
      random(valueSeed).shuffle(other);
      const y = reshape(x, [...other.slice(1), -1]);
      assert.equal(backend.memory().bytes, bytes);
      assert.deepEqual(y.toArray(), x.toArray());
    });
  });
}
