import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { wasmBackend } from '../../../src/tensor/index.ts';
import { threadedBackend, VARIANTS } from '../../support/threads.ts';
import { perform } from './case.ts';
import { cases } from './cases.ts';

/** Enough for sizes at all edges of tiles; the reference here is as fast as what is tested. */
const RUNS = 60;

for (const variant of VARIANTS) {
  const one = wasmBackend({ variant });
  for (const threads of variant === 'relaxed' ? [2, 3, 4] : [3]) {
    const many = await threadedBackend(threads, { variant });
    describe(`${many.description} gives the bits of one thread`, () => {
      for (const [name, found] of Object.entries(cases)) {
        test(name, () => {
          const before = many.memory().bytes;
          fc.assert(
            fc.property(found.params, (params) => {
              const call = found.call(params);
              // Object.is of every element: -0 is not 0.
              assert.deepStrictEqual(perform(call, many), perform(call, one));
            }),
            { numRuns: RUNS },
          );
          assert.equal(many.memory().bytes, before, `${name}: memory not given back`);
        });
      }
    });
  }
}

test('a name stands in the table of threads exactly where it stands in that of one', async () => {
  const many = await threadedBackend(2);
  const names = Object.keys(wasmBackend().kernels) as (keyof Kernels)[];
  assert.deepEqual(Object.keys(many.kernels).sort(), names.sort());
});
