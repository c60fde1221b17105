import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cpuBackend,
  disposeTree,
  flatten,
  full,
  leaves,
  mapTree,
  setBackend,
  type Tensor,
} from '../../../src/tensor/index.ts';

setBackend(cpuBackend());

const tree = () => ({
  head: full([1], 3),
  layers: [
    { down: full([1], 0), up: full([1], 1) },
    { down: full([1], 2), note: 'no tensor', none: null },
  ],
});

test('leaves come in order of keys; other values are skipped', () => {
  assert.deepEqual(
    leaves(tree()).map((leaf) => leaf.item()),
    [3, 0, 1, 2],
  );
  assert.deepEqual(leaves(null), []);
  assert.equal(leaves(full([], 1)).length, 1);
});

test('mapTree keeps the form and passes other values', () => {
  const mapped = mapTree(tree(), (leaf) => full([2], leaf.item() * 10));
  assert.equal(mapped.layers[1].note, 'no tensor');
  assert.equal(mapped.layers[1].none, null);
  assert.deepEqual(
    leaves(mapped).map((leaf) => [...leaf.toFloat32()]),
    [
      [30, 30],
      [0, 0],
      [10, 10],
      [20, 20],
    ],
  );
});

test('paths name leaves as a checkpoint does', () => {
  const names = [...flatten(tree()).keys()];
  assert.deepEqual(names, ['head', 'layers.0.down', 'layers.0.up', 'layers.1.down']);
});

test('objects of a class are no branches', () => {
  class Holder {
    readonly held: Tensor = full([1], 1);
  }
  assert.deepEqual(leaves({ holder: new Holder() }), []);
});

test('disposeTree disposes every leaf', () => {
  const one = tree();
  disposeTree(one);
  assert.ok(leaves(one).every((leaf) => leaf.disposed));
});
