import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Rotary,
  rotaryFrequencies,
  rotaryTable,
  scaleLlama3,
} from '../../../../src/model/nn/rotary.ts';
import { rope, scope, tensor } from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';

/** Angles and their products in f32. */
const CLOSE = 1e-6;

for (const { name, backend } of backends()) {
  describe(`rotaryTable, ${name}`, () => {
    it('holds cos and sin of position times theta^(-2j/headDim)', () => {
      scope(() => {
        const { cos, sin } = rotaryTable(5, rotaryFrequencies(6, 1000), backend);
        assert.deepEqual(
          [cos.shape, sin.shape],
          [
            [5, 3],
            [5, 3],
          ],
        );
        for (let position = 0; position < 5; position++) {
          for (let j = 0; j < 3; j++) {
            const angle = position / 1000 ** (j / 3);
            const at = position * 3 + j;
            assert.ok(Math.abs(cos.toFloat32()[at] - Math.cos(angle)) < CLOSE);
            assert.ok(Math.abs(sin.toFloat32()[at] - Math.sin(angle)) < CLOSE);
          }
        }
      });
    });

    it('keeps its precision far out: angles are made in float64', () => {
      scope(() => {
        const { cos } = rotaryTable(8192, rotaryFrequencies(2, 10_000), backend);
        assert.ok(Math.abs(cos.toFloat32()[8191] - Math.cos(8191)) < CLOSE);
      });
    });

    it('turns vectors so that products depend on the distance alone', () => {
      scope(() => {
        const { cos, sin } = rotaryTable(40, rotaryFrequencies(4, 10_000), backend);
        const vector = (values: number[]) => tensor(values, [1, 1, 4], { backend });
        const turn = (values: number[], position: number) => {
          const at = tensor(Int32Array.of(position), [1], { backend });
          return rope(vector(values), cos, sin, at).toFloat32();
        };
        const product = (p: number, q: number) => {
          const a = turn([1, -2, 0.5, 3], p);
          const b = turn([-1, 0.25, 2, 1], q);
          return a.reduce((sum, x, i) => sum + x * b[i], 0);
        };
        for (const [p, q] of [
          [7, 7],
          [20, 13],
          [39, 36],
        ]) {
          assert.ok(Math.abs(product(p, q) - product(p - q, 0)) < 10 * CLOSE, `${p}, ${q}`);
        }
      });
    });
  });
}

describe('scaleLlama3', () => {
  const scaling = {
    type: 'llama3',
    ...{ factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 100 },
  } as const;
  /** A frequency whose wave fits the original context so many times. */
  const waves = (times: number) => (2 * Math.PI * times) / 100;

  it('keeps fast frequencies, divides slow ones, blends between', () => {
    const given = Float64Array.of(waves(10), waves(4), waves(2.5), waves(1), waves(0.1));
    const kept = [1, 1, 0.5 + 0.5 / 8, 1 / 8, 1 / 8];
    scaleLlama3(given, scaling).forEach((frequency, j) => {
      assert.ok(Math.abs(frequency / given[j] - kept[j]) < 1e-12);
    });
  });
});

describe('Rotary', () => {
  const [{ backend }] = backends();

  it('grows to the longest sequence seen, never beyond the context, and gives all back', () => {
    const before = backend.memory();
    const rotary = new Rotary(rotaryFrequencies(4, 100), 1500, backend);
    const held = () => (backend.memory().bytes - before.bytes) / (2 * 2 * 4);
    assert.equal(held(), 512);
    rotary.reach(512);
    assert.equal(held(), 512);
    rotary.reach(513);
    assert.equal(held(), 1024);
    rotary.reach(1025);
    assert.equal(held(), 1500);
    rotary.dispose();
    assert.equal(backend.memory().bytes, before.bytes);
  });
});
