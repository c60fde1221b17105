import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  gatherQuantizedRows,
  installQuant,
  linearQuantized,
  quantizeRows,
} from '../../../src/quant/index.ts';
import { type Backend, scope, type TypedArray, tensor } from '../../../src/tensor/index.ts';
import { FORMATS, nameOf, pack, scalar, valuesOf } from '../../support/quant.ts';
import { seed } from '../../support/sizes.ts';
import { threadedBackend, VARIANTS } from '../../support/threads.ts';

/** One row is cut by columns, more by rows: tiles of 4, blocks of 16, and a block more or less. */
const rows = fc.constantFrom(1, 2, 3, 5, 8, 9, 15, 16, 17, 31, 32, 33, 47, 65);
const columns = fc.constantFrom(1, 7, 8, 9, 15, 16, 17, 24, 31, 65);
const inner = fc.constantFrom(1, 31, 32, 33, 64, 65, 96, 160, 257);
const actGroup = fc.constantFrom(undefined, 32, 64, 128);

const made: Backend[] = [];
for (const variant of VARIANTS) {
  for (const threads of variant === 'relaxed' ? [2, 3, 4] : [3]) {
    const backend = await threadedBackend(threads, { variant });
    installQuant(backend, { variant });
    made.push(backend);
  }
}

describe('integer kernels in several threads', () => {
  it('give the scalar twin to the bit, for any number of threads', () => {
    const params = fc.record({
      m: rows,
      n: columns,
      k: inner,
      group: actGroup,
      format: fc.constantFrom(...FORMATS),
      bias: fc.boolean(),
      residual: fc.boolean(),
      from: seed,
    });
    fc.assert(
      fc.property(params, ({ m, n, k, group, format, bias, residual, from }) => {
        const x = valuesOf(from, m * k);
        const w = valuesOf(from + 1, n * k);
        const ids = Int32Array.from({ length: 37 }, (_, i) => (i * 7) % n);
        const run = (backend: Backend) =>
          scope(() => {
            using weight = pack(format, w, n, k, backend);
            const on = (values: TypedArray, shape: number[]) => tensor(values, shape, { backend });
            const q = quantizeRows(on(x, [m, k]), { groupSize: group });
            const y = linearQuantized(q, weight, {
              bias: bias ? on(valuesOf(from + 2, n), [n]) : undefined,
              residual: residual ? on(valuesOf(from + 3, m * n), [m, n]) : undefined,
            });
            const gathered = gatherQuantizedRows(weight, on(ids, [ids.length]));
            const { data, scales, sums } = q;
            return [data, scales, sums, y, gathered].map((one) => one.toArray());
          });
        const expected = run(scalar);
        for (const backend of made) {
          assert.deepStrictEqual(
            run(backend),
            expected,
            `${backend.description} ${nameOf(backend)}`,
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});
