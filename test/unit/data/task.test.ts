import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { numberOf, standardized, targetOf, taskOf } from '../../../src/data/index.ts';

it('numbers are decimal and finite', () => {
  for (const [label, value] of [
    ['1', 1],
    [' -2.50 ', -2.5],
    ['+.5', 0.5],
    ['3.', 3],
    ['1e-3', 0.001],
  ] as const) {
    assert.equal(numberOf(label), value);
  }
  for (const label of [
    '',
    ' ',
    '.',
    'e5',
    '0x10',
    'NaN',
    'Infinity',
    '1e999',
    '1,5',
    '1_000',
    '٣',
  ]) {
    assert.equal(numberOf(label), undefined, label);
  }
});

it('labels are numbers only where some have a fraction', () => {
  assert.equal(taskOf(['0.5', '1', '2']), 'regression');
  assert.equal(taskOf(['1', '2', '3', '4']), 'classification');
  assert.equal(taskOf(['0.5', '1', 'none']), 'classification');
  // Two values are two classes, however they are written.
  assert.equal(taskOf(['0.0', '1.0', '0.0']), 'classification');
  assert.equal(taskOf([]), 'classification');
});

it('standardised labels have mean 0 and deviation 1', () => {
  const values = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 50 });
  fc.assert(
    fc.property(values, (numbers) => {
      fc.pre(new Set(numbers).size > 1);
      const labels = numbers.map((value) => String(value / 8));
      const target = targetOf(labels);
      const out = labels.map((label) => standardized(label, target));
      const mean = out.reduce((a, b) => a + b, 0) / out.length;
      const square = out.reduce((a, b) => a + b * b, 0) / out.length;
      // Rounding of f64 sums.
      assert.ok(Math.abs(mean) < 1e-9 && Math.abs(square - 1) < 1e-9);
    }),
  );
});
