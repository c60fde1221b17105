import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  covered,
  hiddenShare,
  type Interval,
  intersection,
  overlap,
  union,
} from '../../../src/trace/intervals.ts';

/** On whole numbers below this the claims can be checked cell by cell, and floats are exact. */
const CELLS = 24;

const point = fc.integer({ min: 0, max: CELLS });
/** Any pair: ends before starts and empty ones included. */
const intervals = fc.array(fc.tuple(point, point), { maxLength: 10 });

/** Which unit cells are covered: the plain meaning of a set of intervals. */
function cells(of: readonly Interval[]): boolean[] {
  return Array.from({ length: CELLS }, (_, cell) =>
    of.some(([start, end]) => start <= cell && cell + 1 <= end),
  );
}

const count = (flags: readonly boolean[]) => flags.filter(Boolean).length;

test('union covers the same cells with disjoint, ordered, non-empty intervals', () => {
  fc.assert(
    fc.property(intervals, (a) => {
      const joined = union(a);
      assert.deepEqual(cells(joined), cells(a));
      assert.deepEqual(union(joined), joined);
      joined.forEach(([start, end], i) => {
        assert.ok(start < end);
        if (i > 0) assert.ok(joined[i - 1][1] < start);
      });
    }),
  );
});

test('intersection covers the cells that both cover', () => {
  fc.assert(
    fc.property(intervals, intervals, (a, b) => {
      const [inA, inB] = [cells(a), cells(b)];
      const both = inA.map((flag, cell) => flag && inB[cell]);
      assert.deepEqual(cells(intersection(a, b)), both);
      assert.equal(overlap(a, b), count(both));
      assert.equal(overlap(b, a), count(both));
    }),
  );
});

test('covered(a) + covered(b) = covered(a and b together) + overlap(a, b)', () => {
  fc.assert(
    fc.property(intervals, intervals, (a, b) => {
      assert.equal(covered(a) + covered(b), covered([...a, ...b]) + overlap(a, b));
    }),
  );
});

test('hidden share lies in 0..1, is 1 under itself, and grows with the cover', () => {
  fc.assert(
    fc.property(intervals, intervals, intervals, (work, cover, more) => {
      const share = hiddenShare(work, cover);
      assert.ok(share >= 0 && share <= 1);
      assert.equal(hiddenShare(work, work), covered(work) > 0 ? 1 : 0);
      assert.ok(hiddenShare(work, [...cover, ...more]) >= share);
    }),
  );
});

test('no input is written to', () => {
  fc.assert(
    fc.property(intervals, intervals, (a, b) => {
      const before = JSON.stringify([a, b]);
      union(a);
      hiddenShare(a, b);
      assert.equal(JSON.stringify([a, b]), before);
    }),
  );
});
