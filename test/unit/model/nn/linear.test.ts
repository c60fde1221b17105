import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { linear, linears } from '../../../../src/model/nn/linear.ts';
import { packQb4w, packQc8w } from '../../../../src/quant/index.ts';
import { live, random, randomNormal, scope } from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';
import { assertClose, rmsError } from '../../../support/close.ts';

const [ROWS, INNER, COLUMNS] = [5, 96, 11];
/** f32 sums of 96 products. */
const F32 = 1e-6;
/** Weights of 7 bits, inputs of 8: about 1% of an output's size. */
const INT8 = 0.02;
/** Weights of 4 bits in groups of 32. */
const INT4 = 0.12;

for (const { name, backend } of backends()) {
  describe(`linear, ${name}`, () => {
    const given = (shape: number[], seed: number) => randomNormal(shape, 1, random(seed), backend);

    it('is x W^T + bias + residual, whatever the weight is held in', () => {
      scope(() => {
        const x = given([ROWS, INNER], 1);
        const weight = given([COLUMNS, INNER], 2);
        const bias = given([COLUMNS], 3);
        const residual = given([ROWS, COLUMNS], 4);
        const [fx, fw, fb, fr] = [x, weight, bias, residual].map((one) => one.toFloat32());
        const expected = (withBias: boolean, withResidual: boolean) =>
          Float64Array.from({ length: ROWS * COLUMNS }, (_, at) => {
            const [r, c] = [Math.floor(at / COLUMNS), at % COLUMNS];
            let sum = (withBias ? fb[c] : 0) + (withResidual ? fr[at] : 0);
            for (let k = 0; k < INNER; k++) sum += fx[r * INNER + k] * fw[c * INNER + k];
            return sum;
          });
        const int8 = packQc8w(fw, COLUMNS, INNER, { backend });
        const int4 = packQb4w(fw, COLUMNS, INNER, { groupSize: 32, backend });
        for (const [withBias, withResidual] of [
          [false, false],
          [true, false],
          [false, true],
          [true, true],
        ]) {
          const options = {
            bias: withBias ? bias : undefined,
            residual: withResidual ? residual : undefined,
          };
          const want = expected(withBias, withResidual);
          assertClose(linear(x, weight, options).toFloat32(), want, F32, 'f32');
          assert.ok(rmsError(linear(x, int8, options).toFloat32(), want) < INT8);
          assert.ok(rmsError(linear(x, int4, options).toFloat32(), want) < INT4);
        }
        int8.dispose();
        int4.dispose();
      });
    });

    it('several at once are each by itself, to the bit', () => {
      scope(() => {
        const x = given([ROWS, INNER], 1);
        const f32 = given([COLUMNS, INNER], 2);
        const values = f32.toFloat32();
        const int8 = packQc8w(values, COLUMNS, INNER, { backend });
        const int4 = packQb4w(values, COLUMNS, INNER, { groupSize: 32, backend });
        const weights = [int8, f32, int4, int8];
        const together = linears(x, weights);
        together.forEach((y, i) => {
          assert.deepEqual(y.shape, [ROWS, COLUMNS]);
          assert.deepEqual(y.toFloat32(), linear(x, weights[i]).toFloat32());
        });
        int8.dispose();
        int4.dispose();
      });
    });

    it('leaves only its result', () => {
      const x = given([ROWS, INNER], 1);
      const weight = packQc8w(new Float32Array(COLUMNS * INNER).fill(1), COLUMNS, INNER, {
        backend,
      });
      const before = live(backend);
      const y = scope(() => linear(x, weight));
      assert.equal(live(backend).allocations, before.allocations + 1);
      for (const one of [x, y, weight]) one.dispose();
    });
  });
}
