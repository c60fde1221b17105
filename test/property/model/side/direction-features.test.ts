import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  DIRECTION_FEATURES,
  directionFeatures,
  hadamard,
} from '../../../../src/model/side/direction-features.ts';
import { random, randomNormal, scope, tensor } from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';
import { seed } from '../../../support/sizes.ts';

/** Sums of up to 64 numbers of order one in float64. */
const CLOSE = 1e-12;
/** Four times the deviation of a kernel's value, 1 / sqrt(2 F), for signs that are short of normal. */
const NOISE = 4 / Math.sqrt(DIRECTION_FEATURES);
/** A sum of 32,768 squares in f32. */
const UNIT = 1e-5;

const { backend } = backends()[0];

const job = fc.record({
  layers: fc.constantFrom(1, 2, 3),
  kinds: fc.constantFrom(1, 2),
  width: fc.constantFrom(17, 32, 48),
  seed,
});

describe('direction features', () => {
  it('the fast Hadamard transform is the matrix', () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 4, 8, 64), seed, (size, from) => {
        const rng = random(from);
        const x = Float64Array.from({ length: size }, () => rng.normal());
        const ones = (i: number): number => (i === 0 ? 0 : (i & 1) + ones(i >> 1));
        const expected = x.map((_, i) =>
          x.reduce((sum, v, j) => sum + (ones(i & j) % 2 === 0 ? v : -v), 0),
        );
        const actual = x.slice();
        hadamard(actual);
        actual.forEach((v, i) => {
          assert.ok(Math.abs(v - expected[i]) <= CLOSE * size, `[${i}]: ${v}, ${expected[i]}`);
        });
      }),
    );
  });

  it('their products are the Gaussian kernel of weighted directions', () => {
    fc.assert(
      fc.property(job, ({ seed: from, ...dimensions }) => {
        scope(() => {
          const shape = { ...dimensions, classes: 2 };
          const { layers, kinds, width } = shape;
          const rng = random(from);
          // The second sample lies near the first, the third anywhere; lengths say nothing.
          const taps = Array.from({ length: layers }, () => {
            const values = randomNormal([3 * kinds, width], 1, rng, backend).toFloat32();
            const block = kinds * width;
            for (let i = 0; i < block; i++) {
              values[block + i] = 7 * (values[i] + 0.5 * values[block + i]);
            }
            return tensor(values, [3 * kinds, width], { backend });
          });
          const raw = Array.from({ length: layers * kinds }, () => rng.uniform(0.1, 1));
          const total = raw.reduce((sum, w) => sum + w, 0);
          const scales = raw.map((w) => Math.sqrt(w / total));
          const f = directionFeatures(taps, scales, shape).toFloat32();
          const product = (a: number, b: number) => {
            let sum = 0;
            for (let j = 0; j < DIRECTION_FEATURES; j++) {
              sum += f[a * DIRECTION_FEATURES + j] * f[b * DIRECTION_FEATURES + j];
            }
            return sum;
          };
          const cosine = (block: number, a: number, b: number) => {
            const values = taps[Math.floor(block / kinds)].toFloat32();
            const row = (s: number) => {
              const start = (s * kinds + (block % kinds)) * width;
              return [...values.subarray(start, start + width)];
            };
            const [x, y] = [row(a), row(b)];
            const dot = x.reduce((sum, v, i) => sum + v * y[i], 0);
            return dot / Math.hypot(...x) / Math.hypot(...y);
          };
          for (const [a, b] of [
            [0, 1],
            [0, 2],
          ]) {
            const exponent = scales.reduce((sum, s, i) => sum + s * s * (1 - cosine(i, a, b)), 0);
            const expected = Math.exp(-exponent);
            assert.ok(Math.abs(product(a, b) - expected) <= NOISE, `${product(a, b)}, ${expected}`);
          }
          assert.ok(Math.abs(product(2, 2) - 1) <= UNIT);
        });
      }),
      { numRuns: 20 },
    );
  });

  it('a row of zeros has no direction, and no NaN', () => {
    scope(() => {
      const shape = { layers: 1, kinds: 1, width: 3, classes: 2 };
      const taps = [tensor(new Float32Array(3), [1, 3], { backend })];
      const values = directionFeatures(taps, [1], shape).toFloat32();
      const half = DIRECTION_FEATURES / 2;
      const one = Math.fround(1 / Math.sqrt(half));
      assert.ok(values.every((v, j) => v === (j < half ? one : 0)));
    });
  });
});
