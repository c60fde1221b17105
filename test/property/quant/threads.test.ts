import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { installQuant } from '../../../src/quant/index.ts';
import type { Backend } from '../../../src/tensor/index.ts';
import { kernelCases, nameOf, runKernels, scalar } from '../../support/quant.ts';
import { threadedBackend, VARIANTS } from '../../support/threads.ts';

/** One row is cut by columns, more by rows: tiles of 4, blocks of 16, and a block more or less. */
const rows = fc.constantFrom(1, 2, 3, 5, 8, 9, 15, 16, 17, 31, 32, 33, 47, 65);
const columns = fc.constantFrom(1, 7, 8, 9, 15, 16, 17, 24, 31, 65);
const inner = fc.constantFrom(1, 31, 32, 33, 64, 65, 96, 160, 257);

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
    fc.assert(
      fc.property(kernelCases({ m: rows, n: columns, k: inner }), (one) => {
        const expected = runKernels(one, scalar);
        for (const backend of made) {
          assert.deepStrictEqual(
            runKernels(one, backend),
            expected,
            `${backend.description} ${nameOf(backend)}`,
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});
