import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  covered,
  hiddenShare,
  intersection,
  overlap,
  union,
} from '../../../src/trace/intervals.ts';

test('union joins what overlaps or touches, in order, and drops what is empty', () => {
  assert.deepEqual(
    union([
      [5, 7],
      [0, 2],
      [2, 3],
      [6, 6.5],
      [9, 9],
      [12, 11],
    ]),
    [
      [0, 3],
      [5, 7],
    ],
  );
  assert.deepEqual(union([]), []);
});

test('intersection of two trains of intervals', () => {
  const a: [number, number][] = [
    [0, 4],
    [6, 10],
  ];
  const b: [number, number][] = [
    [3, 7],
    [9, 12],
  ];
  assert.deepEqual(intersection(a, b), [
    [3, 4],
    [6, 7],
    [9, 10],
  ]);
  assert.equal(overlap(a, b), 3);
  assert.equal(covered(a), 8);
});

test('hidden share: the part of the work inside the cover, each moment once', () => {
  const device: [number, number][] = [[0, 10]];
  assert.equal(hiddenShare([[2, 4]], device), 1);
  assert.equal(
    hiddenShare(
      [
        [8, 12],
        [9, 12],
      ],
      device,
    ),
    0.5,
  );
  assert.equal(hiddenShare([[11, 12]], device), 0);
  assert.equal(hiddenShare([], device), 0);
});
