import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Backend, Kernels } from '../../../src/tensor/backend.ts';
import { cpuBackend } from '../../../src/tensor/backends/cpu/index.ts';
import { assertClose, type Call, perform } from './case.ts';
import { cases } from './cases.ts';

const cpu = cpuBackend();

/**
 * Walks the table: every kernel of the backend against cpu, as often as `runsOf` says.
 * @param fit makes of a case what may be asked of this backend
 */
export function compareWithCpu(
  backend: Backend,
  runsOf: (name: keyof Kernels) => number,
  fit: (name: keyof Kernels, call: Call) => Call = (_, call) => call,
): void {
  describe(`${backend.description} computes what cpu computes`, () => {
    for (const name of Object.keys(cpu.kernels) as (keyof Kernels)[]) {
      test(name, () => {
        const found = cases[name];
        assert.ok(found, `${name}: no case in test/property/kernels`);
        assert.equal(typeof backend.kernels[name], 'function', `${name}: not in the table`);
        const before = backend.memory().bytes;
        fc.assert(
          fc.property(found.params, (params) => {
            const call = fit(name, found.call(params));
            const expected = perform(call, cpu);
            const got = perform(call, backend);
            expected.forEach((array, i) => {
              assertClose(got[i], array, call.tolerance);
            });
          }),
          { numRuns: runsOf(name) },
        );
        assert.equal(backend.memory().bytes, before, `${name}: memory not given back`);
      });
    }
  });
}
