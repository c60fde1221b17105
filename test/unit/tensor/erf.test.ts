import assert from 'node:assert/strict';
import { test } from 'node:test';
import { erf, erfc, normalCdf } from '../../../src/tensor/backends/cpu/erf.ts';

/** erfc at f64's precision (python's math.erfc). */
const KNOWN: [number, number][] = [
  [-4, 1.999999984582742],
  [-2.5, 1.999593047982555],
  [-1, 1.842700792949715],
  [-0.1, 1.1124629160182848],
  [1e-9, 0.9999999988716208],
  [0.1, 0.8875370839817152],
  [0.5, 0.4795001221869535],
  [1, 0.15729920705028513],
  [1.5, 0.033894853524689274],
  [2, 0.004677734981047265],
  [2.4999, 0.0004071699003334514],
  [2.5, 0.0004069520174449589],
  [2.5001, 0.0004067342434706798],
  [3, 2.2090496998585438e-5],
  [4, 1.541725790028002e-8],
  [5, 1.5374597944280351e-12],
  [8, 1.1224297172982928e-29],
  [20, 5.3958656116079005e-176],
];

test('erfc is right in both tails and at the seam of its two forms', () => {
  for (const [x, expected] of KNOWN) {
    assert.ok(Math.abs(erfc(x) - expected) <= 1e-12 * expected, `erfc(${x}) = ${erfc(x)}`);
    assert.ok(Math.abs(erf(x) - (1 - expected)) <= 1e-15);
  }
});

test('the seam is smooth and the ends are exact', () => {
  const [below, above] = [erfc(2.5 - 1e-12), erfc(2.5)];
  assert.ok(Math.abs(below / above - 1) < 1e-10);
  assert.deepEqual([erfc(Number.POSITIVE_INFINITY), erfc(Number.NEGATIVE_INFINITY)], [0, 2]);
  assert.ok(Number.isNaN(erfc(Number.NaN)));
  assert.equal(erfc(0), 1);
  assert.equal(normalCdf(0), 0.5);
});

test('the two tails of the normal make one', () => {
  for (let x = 0; x <= 8; x += 0.125) {
    assert.ok(Math.abs(normalCdf(x) + normalCdf(-x) - 1) < 1e-15, `at ${x}`);
  }
});
