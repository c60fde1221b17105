import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type SideShape, TapStatistics } from '../../../../src/model/index.ts';
import { smallSize } from '../../../support/sizes.ts';

/** Welford's sums in f64 and two passes in f64 differ by rounding; results are rounded to f32. */
const ROUNDING = 1e-6;

/** Added to every deviation, so that a constant channel is not blown up. */
const EPS = 1e-3;

const samples = fc
  .record({
    layers: smallSize,
    kinds: fc.constantFrom(1, 2),
    width: smallSize,
    offset: fc.integer({ min: -8, max: 8 }),
  })
  .chain(({ offset, ...dims }) => {
    const numel = dims.layers * dims.kinds * dims.width;
    const value = fc.integer({ min: -4000, max: 4000 }).map((n) => offset + n / 1000);
    const sample = fc.array(value, { minLength: numel, maxLength: numel });
    return fc.tuple(
      fc.constant({ ...dims, classes: 2 } satisfies SideShape),
      fc.array(
        sample.map((values) => Float32Array.from(values)),
        { minLength: 1, maxLength: 12 },
      ),
    );
  });

const near = (actual: number, expected: number) =>
  assert.ok(
    Math.abs(actual - expected) <= ROUNDING * Math.max(1, Math.abs(expected)),
    `${actual}, expected ${expected}`,
  );

test('mean and deviation are those of two passes, in any order of the samples', () => {
  fc.assert(
    fc.property(samples, ([shape, rows]) => {
      const forward = new TapStatistics(shape);
      const backward = new TapStatistics(shape);
      for (const row of rows) forward.add(row);
      for (const row of rows.toReversed()) backward.add(row);
      assert.equal(forward.count, rows.length);
      const { mean, scale } = forward.deviation();
      const other = backward.deviation();
      for (let i = 0; i < mean.length; i++) {
        const average = rows.reduce((sum, row) => sum + row[i], 0) / rows.length;
        const variance = rows.reduce((sum, row) => sum + (row[i] - average) ** 2, 0) / rows.length;
        near(mean[i], average);
        near(scale[i], Math.sqrt(variance) + EPS);
        near(other.mean[i], mean[i]);
        near(other.scale[i], scale[i]);
      }
    }),
  );
});

test('the standardizer brings the samples it has seen to mean 0 and deviation at most 1', () => {
  fc.assert(
    fc.property(samples, ([shape, rows]) => {
      const statistics = new TapStatistics(shape);
      for (const row of rows) statistics.add(row);
      const { mean, scale } = statistics.standardizer();
      for (let i = 0; i < mean.length; i++) {
        const values = rows.map((row) => (row[i] - mean[i]) * scale[i]);
        const average = values.reduce((sum, x) => sum + x, 0) / values.length;
        // An f32 mean of up to 12 is off by 1e-6; a constant channel multiplies that by 1 / eps.
        assert.ok(Math.abs(average) <= 2e-3, `mean ${average}`);
        const square = values.reduce((sum, x) => sum + x * x, 0) / values.length;
        assert.ok(square <= 1 + ROUNDING, `mean square ${square}`);
      }
    }),
  );
});

test('before any sample: mean 0, deviation eps', () => {
  const { mean, scale } = new TapStatistics({
    layers: 1,
    kinds: 1,
    width: 2,
    classes: 2,
  }).deviation();
  assert.deepEqual([...mean], [0, 0]);
  assert.deepEqual([...scale], [Math.fround(EPS), Math.fround(EPS)]);
});
