import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ChannelAffine, layersToSamples, type TapCodec } from '../../../src/model/index.ts';
import { decodeSample, type TapDropout, tapTensors } from '../../../src/model/side/taps.ts';
import { ACTIVATION_BITS, encodeActivations } from '../../../src/quant/index.ts';
import { packTaps, tapChannels, unpackTaps } from '../../../src/server/packed-taps.ts';
import { cpuBackend, random } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { furthest } from '../../support/train-steps.ts';

/** A value through three affine functions and a norm, each rounded to f32 here and not there. */
const ROUNDED = 2e-5;

describe('taps that a backend decodes are those that are decoded beforehand', () => {
  const rng = random(3);
  const affineOf = (n: number): ChannelAffine => ({
    mean: Float32Array.from({ length: n }, () => rng.normal()),
    scale: Float32Array.from({ length: n }, () => 0.5 + rng.uniform()),
  });
  for (const bits of ACTIVATION_BITS) {
    for (const [width, kinds, classes] of [
      [70, 2, 3],
      [64, 1, 0],
      [5, 1, 2],
    ]) {
      it(`at ${bits} bits, ${kinds} rows of width ${width}, ${classes} classes`, () => {
        const shape = { layers: 3, kinds, width, classes };
        const samples = 4;
        const codec: TapCodec = { bits, calibration: affineOf(3 * kinds * width) };
        const standardizer = affineOf(3 * kinds * width);
        const layers = Array.from({ length: 3 }, () => {
          const values = Float32Array.from({ length: samples * kinds * width }, () => rng.normal());
          return encodeActivations(values, samples * kinds, width, bits);
        });
        const records = layersToSamples(layers, samples);
        const all = new Uint8Array(records.reduce((sum, { length }) => sum + length, 0));
        records.forEach((record, i) => {
          all.set(record, i * record.length);
        });
        const decoded = records.map((record) => decodeSample(record, shape, codec));
        for (const rate of [0, 0.3]) {
          const dropout = (): TapDropout | undefined =>
            rate > 0 ? { rate, rng: random(9) } : undefined;
          const expected = tapTensors(decoded, shape, standardizer, cpuBackend(), dropout());
          for (const { backend } of backends()) {
            const packed = packTaps(all, samples, shape, codec, backend, dropout());
            const channels = tapChannels(shape, codec, standardizer, rate, backend);
            const got = unpackTaps(packed, channels, shape);
            assert.equal(got.length, expected.length);
            got.forEach((tap, l) => {
              assert.deepEqual(tap.shape, expected[l].shape);
              const values = [...tap.toFloat32()];
              const due = [...expected[l].toFloat32()];
              const off = furthest(values, due);
              assert.ok(off < ROUNDED, `${backend.description}, tap ${l}: off by ${off}`);
              const zeros = (list: readonly number[]) => list.map((value) => value === 0);
              if (rate > 0) assert.deepEqual(zeros(values), zeros(due), 'the same are dropped');
            });
          }
        }
      });
    }
  }
});
