import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  inferShape,
  normalizeAxis,
  numelOf,
  ShapeError,
  stridesOf,
} from '../../../src/tensor/index.ts';

test('strides count elements from one index to the next', () => {
  assert.deepEqual(stridesOf([2, 3, 4]), [12, 4, 1]);
  assert.deepEqual(stridesOf([]), []);
  assert.equal(numelOf([]), 1);
  assert.equal(numelOf([3, 0]), 0);
  assert.equal(formatShape([2, 3]), '[2,3]');
});

test('shapes broadcast from the back', () => {
  assert.deepEqual(broadcastShapes('add', [4, 1, 3], [2, 1]), [4, 2, 3]);
  assert.deepEqual(broadcastShapes('add', [], [5]), [5]);
  assert.deepEqual(broadcastShapes('add', [0, 1], [1, 3]), [0, 3]);
  assert.throws(() => broadcastShapes('add', [2, 3], [2]), {
    code: 'E_SHAPE',
    message: 'add: shapes do not broadcast, lhs [2,3], rhs [2]',
  });
  assert.deepEqual(broadcastStrides([2, 1], [4, 2, 3]), [0, 1, 0]);
});

test('negative axes count from the end', () => {
  assert.equal(normalizeAxis('sum', -1, 3), 2);
  for (const axis of [3, -4, 0.5]) assert.throws(() => normalizeAxis('sum', axis, 3), ShapeError);
});

test('one length can be left to be found', () => {
  assert.deepEqual(inferShape('reshape', [2, 6], [3, -1]), [3, 4]);
  assert.deepEqual(inferShape('reshape', [0, 6], [-1, 6]), [0, 6]);
  for (const to of [[5, -1], [-1, -1], [13], [-12]]) {
    assert.throws(() => inferShape('reshape', [2, 6], to), ShapeError);
  }
});
