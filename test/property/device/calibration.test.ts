import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { calibrate, encodePooled } from '../../../src/device/index.ts';
import {
  decodeSample,
  layersToSamples,
  rmsNormRows,
  type SideShape,
  TapStatistics,
} from '../../../src/model/index.ts';
import { f16ToNumber, numberToF16, random, wasmBackend } from '../../../src/tensor/index.ts';
import { decodeHalves, encodeHalves } from '../../../src/transport/index.ts';
import { seed } from '../../support/sizes.ts';

const backend = wasmBackend();

/** Half a step of 7 bits and sign at the largest of a group of 64 normal numbers, with room. */
const EIGHT_BITS = 0.03;

const shapes: fc.Arbitrary<SideShape> = fc.record({
  layers: fc.constantFrom(1, 2, 3),
  kinds: fc.constantFrom(1, 2),
  width: fc.constantFrom(1, 7, 63, 64, 65),
  classes: fc.constant(2),
});

/** Per layer `[B*K, D]`, RMS-normed, with a channel that stands far from the others. */
function pooledTaps(shape: SideShape, samples: number, seed: number): Float32Array[] {
  const rng = random(seed);
  const { layers, kinds, width } = shape;
  return Array.from({ length: layers }, () => {
    const values = Float32Array.from({ length: samples * kinds * width }, (_, i) =>
      i % width === 0 ? 30 + 3 * rng.normal() : rng.normal(),
    );
    return rmsNormRows(values, width);
  });
}

test('a calibration is the statistics of its batch, in numbers that 16 bits hold', () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 1, max: 6 }), seed, (shape, samples, seed) => {
      const pooled = pooledTaps(shape, samples, seed);
      const { mean, scale } = calibrate(pooled, shape);
      const statistics = new TapStatistics(shape);
      for (const sample of layersToSamples(pooled, samples)) statistics.add(sample);
      const half = (x: number) => f16ToNumber(numberToF16(x));
      assert.deepEqual(mean, statistics.deviation().mean.map(half));
      assert.deepEqual(scale, statistics.deviation().scale.map(half));
      // Never 0, or a constant channel would be divided by it; and the same after the wire.
      assert.ok(scale.every((x) => x > 0));
      assert.deepEqual(decodeHalves(encodeHalves(mean), mean.length), mean);
      assert.deepEqual(decodeHalves(encodeHalves(scale), scale.length), scale);
    }),
  );
});

test('what the receiver decodes is what was pooled, to the precision of the codes', () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 2, max: 6 }), seed, (shape, samples, seed) => {
      const pooled = pooledTaps(shape, samples, seed);
      const expected = layersToSamples(pooled, samples);
      const codec = { bits: 8, calibration: calibrate(pooled, shape) } as const;
      const encoded = encodePooled(pooled, shape, codec, backend);
      layersToSamples(encoded, samples).forEach((bytes, b) => {
        const decoded = decodeSample(bytes, shape, codec);
        // The receiver norms again, which after rounding moves a row a little.
        const normed = rmsNormRows(expected[b].slice(), shape.width);
        decoded.forEach((value, i) => {
          const allowed =
            EIGHT_BITS * codec.calibration.scale[i] + EIGHT_BITS * Math.abs(normed[i]);
          assert.ok(Math.abs(value - normed[i]) <= allowed, `${i}: ${value}, was ${normed[i]}`);
        });
      });
    }),
  );
});

test('rows are encoded one by one: a sample has the same bytes in any batch', () => {
  fc.assert(
    fc.property(shapes, seed, (shape, seed) => {
      const samples = 3;
      const pooled = pooledTaps(shape, samples, seed);
      const codec = { bits: 4, calibration: calibrate(pooled, shape) } as const;
      const block = shape.kinds * shape.width;
      const alone = Array.from({ length: samples }, (_, b) =>
        encodePooled(
          pooled.map((layer) => layer.slice(b * block, (b + 1) * block)),
          shape,
          codec,
          backend,
        ),
      );
      const together = layersToSamples(encodePooled(pooled, shape, codec, backend), samples);
      assert.deepEqual(
        alone.map((layers) => layersToSamples(layers, 1)[0]),
        together,
      );
    }),
  );
});
