import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { linearQuantized, packQc8w, quantizeRows } from '../../../src/quant/index.ts';
import { scratchBytes } from '../../../src/quant/kernels/table.ts';
import { qb4wScaleLayout } from '../../../src/quant/qb4w-scales.ts';
import { quantOf } from '../../../src/quant/runtime.ts';
import { scope, type TypedArray, tensor } from '../../../src/tensor/index.ts';
import {
  kernelCases,
  nameOf,
  randomOf,
  runKernels,
  scalar,
  simd,
  valuesOf,
} from '../../support/quant.ts';
import { seed } from '../../support/sizes.ts';

/** Rows, columns and inputs before, at and behind tiles of 4, 8, 16 and 32. */
const rows = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 19, 33);
const columns = fc.constantFrom(1, 2, 7, 8, 9, 15, 16, 17, 24, 31);
const inner = fc.constantFrom(1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 160, 257);

/** Bits, not values: -0 is not 0, and every NaN is equal. */
function assertSameBits(got: TypedArray, expected: TypedArray, what: string): void {
  assert.equal(got.length, expected.length, what);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(got[i], expected[i])) {
      assert.fail(`${what}: [${i}] is ${got[i]}, the scalar twin gives ${expected[i]}`);
    }
  }
}

describe('integer kernels', () => {
  it('SIMD gives the scalar twin to the bit: rows, products with bias and residual, gathers', () => {
    fc.assert(
      fc.property(kernelCases({ m: rows, n: columns, k: inner }), (one) => {
        const expected = runKernels(one, scalar);
        for (const backend of simd) {
          runKernels(one, backend).forEach(([name, got], i) => {
            assertSameBits(got, expected[i][1], `${nameOf(backend)}, ${name}`);
          });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('integer sums are exact: weights and activations whose scales are 1', () => {
    const params = fc.record({ m: rows, n: columns, k: inner, from: seed, extreme: fc.boolean() });
    fc.assert(
      fc.property(params, ({ m, n, k, from, extreme }) => {
        const next = randomOf(from);
        const integers = (count: number, width: number, limit: number) =>
          Float32Array.from({ length: count }, (_, i) => {
            const value = Math.round((next() * 2 - 1) * limit);
            // The first of each row sets its scale to 1.
            return extreme || i % width === 0 ? limit * Math.sign(value || 1) : value;
          });
        const x = integers(m * k, k, 127);
        const w = integers(n * k, k, 63);
        for (const backend of [scalar, ...simd]) {
          const y = scope(() => {
            const weight = packQc8w(w, n, k, { backend });
            const out = linearQuantized(quantizeRows(tensor(x, [m, k], { backend })), weight);
            weight.dispose();
            return out.toFloat32();
          });
          for (let row = 0; row < m; row++) {
            for (let j = 0; j < n; j++) {
              let sum = 0;
              for (let i = 0; i < k; i++) sum += x[row * k + i] * w[j * k + i];
              assert.equal(y[row * n + j], sum, `${nameOf(backend)} [${row},${j}]`);
            }
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it('kernels write their outputs and their scratch, and nothing behind them', () => {
    const GUARD = 64;
    const params = fc.record({ m: rows, n: columns, kp: fc.constantFrom(32, 64, 96, 160) });
    fc.assert(
      fc.property(params, ({ m, n, kp }) => {
        for (const backend of simd) {
          const { kernels } = quantOf(backend);
          const taken: [number, number][] = [];
          const take = (bytes: number): number => {
            const handle = backend.alloc('u8', bytes + GUARD);
            backend.write(handle, 'u8', new Uint8Array(bytes + GUARD).fill(0xa5));
            taken.push([handle, bytes]);
            return handle;
          };
          const panels = Math.ceil(n / 8);
          const data = take(m * kp);
          const scales = take(4 * m * (kp / 32));
          const sums = take(4 * m * (kp / 32));
          const out = take(4 * m * n);
          const scratch = take(scratchBytes(m, kp));
          const packed = take(panels * 8 * kp);
          const groups = take(4 * panels * 8 * (kp / 32));
          const nibbleScales = take(panels * qb4wScaleLayout(kp, 32).bytes);
          const x = take(4 * m * kp);
          backend.write(x, 'f32', valuesOf(1, m * kp));
          kernels.quantizeRowsQd8(data, scales, sums, x, m, kp - 3, kp, 32);
          const rest = [0, 0, scratch, m, n, kp, 32, 32] as const;
          kernels.gemmQd8F32Qc8w(out, data, scales, sums, packed, groups, ...rest);
          kernels.gemmQd8F32Qb4w(out, data, scales, sums, packed, nibbleScales, ...rest);
          for (const [handle, bytes] of taken) {
            const behind = backend.read(handle, 'u8', GUARD, bytes);
            assert.ok(
              behind.every((byte) => byte === 0xa5),
              `${nameOf(backend)} wrote behind`,
            );
            backend.free(handle, 'u8', bytes + GUARD);
          }
        }
      }),
      { numRuns: 25 },
    );
  });
});
