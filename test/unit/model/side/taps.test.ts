import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  decodeSample,
  layersToSamples,
  rmsNormRows,
  SIDE_RMS_EPS,
  type SideShape,
  sampleBytes,
  tapTensors,
} from '../../../../src/model/index.ts';
import { ACTIVATION_BITS, encodeActivations, encodedLength } from '../../../../src/quant/index.ts';
import { FormatError, type Random, random, scope } from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';
import { assertClose } from '../../../support/close.ts';
import { channelAffine, plainAffine, sampleTaps } from '../../../support/side.ts';

const SHAPE: SideShape = { layers: 3, width: 65, kinds: 2, classes: 2 };

/** Sums of squares in f64 against the same sums in another order, rounded to f32. */
const ROUNDING = 1e-6;

describe('rmsNormRows', () => {
  it('brings each row to a mean square of one, in place', () => {
    const values = Float32Array.of(3, -4, 0, 0, 1e-3, 1e-3, 2e4, 0);
    const before = values.slice();
    assert.equal(rmsNormRows(values, 2), values);
    for (let start = 0; start < values.length; start += 2) {
      const row = before.subarray(start, start + 2);
      const rms = Math.sqrt((row[0] ** 2 + row[1] ** 2) / 2 + SIDE_RMS_EPS);
      assertClose(
        values.subarray(start, start + 2),
        row.map((x) => x / rms),
        ROUNDING,
        'row',
      );
    }
    // A row of zeros stays one; eps keeps a tiny row tiny.
    assert.deepEqual([...values.subarray(2, 4)], [0, 0]);
    assert.ok(values[4] < 1);
  });
});

describe('layersToSamples', () => {
  it('gathers what the layers hold of each sample', () => {
    const layers = [
      [1, 2, 3, 4, 5, 6],
      [7, 8, 9, 10, 11, 12],
    ];
    const expected = [
      [1, 2, 7, 8],
      [3, 4, 9, 10],
      [5, 6, 11, 12],
    ];
    const floats = layersToSamples(
      layers.map((l) => Float32Array.from(l)),
      3,
    );
    assert.deepEqual(
      floats,
      expected.map((s) => Float32Array.from(s)),
    );
    const bytes = layersToSamples(
      layers.map((l) => Uint8Array.from(l)),
      3,
    );
    assert.deepEqual(
      bytes,
      expected.map((s) => Uint8Array.from(s)),
    );
  });

  it('of encoded layers gives encoded samples: rows are coded one by one', () => {
    const samples = 4;
    const rows = SHAPE.kinds * samples;
    const rng = random(3);
    for (const bits of ACTIVATION_BITS) {
      const layers = Array.from({ length: SHAPE.layers }, () =>
        Float32Array.from({ length: rows * SHAPE.width }, () => rng.normal()),
      );
      const encoded = layers.map((l) => encodeActivations(l, rows, SHAPE.width, bits));
      const whole = layersToSamples(layers, samples);
      layersToSamples(encoded, samples).forEach((bytes, b) => {
        assert.equal(bytes.length, sampleBytes(SHAPE, bits));
        const alone = encodeActivations(whole[b], SHAPE.layers * SHAPE.kinds, SHAPE.width, bits);
        assert.deepEqual(bytes, alone, `${bits} bits`);
      });
    }
  });
});

describe('decodeSample', () => {
  const rows = SHAPE.layers * SHAPE.kinds;
  const values = sampleTaps(SHAPE, random(5));

  it('undoes the calibration, then norms each row', () => {
    const calibration = channelAffine(SHAPE, 6);
    const { mean, scale } = calibration;
    const coded = values.map((x, i) => (x - mean[i]) / scale[i]);
    const bytes = encodeActivations(coded, rows, SHAPE.width, 16);
    const decoded = decodeSample(bytes, SHAPE, { bits: 16, calibration });
    // f16 has 11 bits, and the code of one value is at most 2 / 0.5 times the value and mean.
    assertClose(decoded, rmsNormRows(values.slice(), SHAPE.width), 2 ** -9, 'decoded');
  });

  it('refuses bytes of another length', () => {
    const bytes = encodeActivations(values, rows, SHAPE.width, 4);
    const codec = { bits: 4, calibration: plainAffine(SHAPE) } as const;
    assert.equal(bytes.length, encodedLength(rows, SHAPE.width, 4));
    for (const wrong of [bytes.subarray(1), Uint8Array.of(...bytes, 0), new Uint8Array()]) {
      assert.throws(() => decodeSample(wrong, SHAPE, codec), FormatError);
    }
  });
});

describe('tapTensors', () => {
  for (const { name, backend } of backends()) {
    it(`lays samples out by layer, standardised per channel, on ${name}`, () => {
      const rng = random(7);
      const samples = [sampleTaps(SHAPE, rng), sampleTaps(SHAPE, rng), sampleTaps(SHAPE, rng)];
      const { mean, scale } = channelAffine(SHAPE, 8);
      const { kinds, width } = SHAPE;
      scope(() => {
        const taps = tapTensors(samples, SHAPE, { mean, scale }, backend);
        assert.equal(taps.length, SHAPE.layers);
        taps.forEach((tap, layer) => {
          assert.deepEqual(tap.shape, [samples.length * kinds, width]);
          assert.equal(tap.backend, backend);
          const at = (sample: Float32Array, i: number) => {
            const channel = layer * kinds * width + i;
            return Math.fround((sample[channel] - mean[channel]) * scale[channel]);
          };
          const expected = samples.flatMap((sample) =>
            Array.from({ length: kinds * width }, (_, i) => at(sample, i)),
          );
          assert.deepEqual([...tap.toFloat32()], expected);
        });
      });
    });

    it(`drops a share, scales the rest up and repeats it from the same seed, on ${name}`, () => {
      const rate = 0.25;
      const samples = Array.from({ length: 40 }, (_, i) => sampleTaps(SHAPE, random(i)));
      const affine = channelAffine(SHAPE, 8);
      const values = (rng?: Random) =>
        scope(() =>
          tapTensors(samples, SHAPE, affine, backend, rng && { rate, rng }).map((tap) => [
            ...tap.toFloat32(),
          ]),
        ).flat();
      const whole = values();
      const dropped = values(random(3));
      assert.deepEqual(dropped, values(random(3)));
      assert.notDeepEqual(dropped, values(random(4)));
      let zeros = 0;
      dropped.forEach((value, i) => {
        if (value === 0) zeros++;
        else assert.equal(value, Math.fround(whole[i] / (1 - rate)));
      });
      // Binomial: five standard deviations.
      const spread = 5 * Math.sqrt(rate * (1 - rate) * whole.length);
      assert.ok(Math.abs(zeros - rate * whole.length) < spread, `${zeros} of ${whole.length}`);
    });
  }
});
