import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  ACTIVATION_BITS,
  type ActivationBits,
  encodeActivations,
  encodedLength,
  encodeRows,
  installQuant,
} from '../../../src/quant/index.ts';
import { quantOf } from '../../../src/quant/runtime.ts';
import { type Backend, scope, tensor, wasmBackend } from '../../../src/tensor/index.ts';
import { spawnKernelThread } from '../../../src/threads/node.ts';
import { nameOf, randomOf, scalar, simd } from '../../support/quant.ts';
import { seed } from '../../support/sizes.ts';

/** Widths at and beside groups of 64 and vectors of 2 and 4. */
const width = fc.constantFrom(1, 2, 3, 5, 63, 64, 65, 66, 127, 128, 131, 576);

interface Case {
  readonly rows: number;
  /** Kinds that are standardized by themselves; 0 where nothing is. */
  readonly kinds: number;
  readonly width: number;
  readonly bits: ActivationBits;
  /** Decimal exponent of the values: from what f16 has no digits for to beyond its largest. */
  readonly magnitude: number;
  readonly from: number;
}

const params: fc.Arbitrary<Case> = fc.record({
  rows: fc.constantFrom(1, 2, 3, 4, 7),
  kinds: fc.constantFrom(0, 1, 2),
  width,
  bits: fc.constantFrom(...ACTIVATION_BITS),
  magnitude: fc.integer({ min: -12, max: 8 }),
  from: seed,
});

/** Values of very different sizes, with zeros of both signs and equal ones: where rounding has ties. */
function valuesOf(from: number, count: number, magnitude: number): Float32Array {
  const next = randomOf(from);
  return Float32Array.from({ length: count }, () => {
    const kind = Math.floor(next() * 16);
    if (kind === 0) return 0;
    if (kind === 1) return -0;
    const value =
      kind < 5 ? Math.round(next() * 8 - 4) / 4 : (next() * 2 - 1) * (kind === 5 ? 40 : 1);
    return value * 10 ** magnitude;
  });
}

function run(backend: Backend, { rows, kinds, width, bits, magnitude, from }: Case): Uint8Array {
  const x = valuesOf(from, rows * Math.max(1, kinds) * width, magnitude);
  return scope(() => {
    const put = (values: Float32Array, count: number) =>
      tensor(values, [count, width], { backend });
    const input = put(x, x.length / width);
    if (kinds === 0) return encodeRows(input, bits);
    const mean = put(valuesOf(from + 1, kinds * width, magnitude), kinds);
    const scales = valuesOf(from + 2, kinds * width, 0).map((value) => Math.abs(value) + 0.001);
    return encodeRows(input, bits, { mean, scale: put(scales, kinds) });
  });
}

describe('encodeRows', () => {
  it('gives the bytes of the scalar twin on every variant, standardized or not', () => {
    fc.assert(
      fc.property(params, (one) => {
        const expected = run(scalar, one);
        for (const backend of simd) {
          assert.deepEqual(run(backend, one), expected, nameOf(backend));
        }
      }),
      { numRuns: 400 },
    );
  });

  it('gives what encodeActivations gives', () => {
    fc.assert(
      fc.property(params, ({ rows, width, bits, magnitude, from }) => {
        const x = valuesOf(from, rows * width, magnitude);
        const expected = encodeActivations(x, rows, width, bits);
        for (const backend of [scalar, ...simd]) {
          const got = scope(() => encodeRows(tensor(x, [rows, width], { backend }), bits));
          assert.deepEqual(got, expected, nameOf(backend));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('gives the same bytes in three threads, kinds of a sample kept together', async () => {
    const pooled = wasmBackend({ threads: 3, spawn: spawnKernelThread });
    await pooled.ready;
    installQuant(pooled);
    for (const kinds of [0, 2]) {
      for (const bits of ACTIVATION_BITS) {
        const one = { rows: 301, kinds, width: 131, bits, magnitude: 0, from: bits };
        assert.deepEqual(run(pooled, one), run(scalar, one), `${kinds} kinds, ${bits} bits`);
      }
    }
    await pooled.dispose();
  });

  it('names the row and the columns that hold no finite number', () => {
    for (const backend of [scalar, ...simd]) {
      for (const bits of ACTIVATION_BITS) {
        for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
          const x = valuesOf(1, 3 * 131, 0);
          x[2 * 131 + 70] = bad;
          assert.throws(() => scope(() => encodeRows(tensor(x, [3, 131], { backend }), bits)), {
            code: 'E_NON_FINITE',
            message: bits === 16 ? /row 2, column 70:/ : /row 2, columns 64 to 127:/,
          });
        }
      }
    }
  });

  it('writes its bytes and nothing behind them', () => {
    for (const backend of simd) {
      for (const bits of ACTIVATION_BITS) {
        for (const width of [3, 64, 131]) {
          const bytes = encodedLength(2, width, bits);
          const [out, x] = [backend.alloc('u8', bytes + 64), backend.alloc('f32', 2 * width)];
          backend.write(out, 'u8', new Uint8Array(bytes + 64).fill(0xa5));
          backend.write(x, 'f32', valuesOf(3, 2 * width, 0));
          quantOf(backend).kernels.encodeRows(out, x, 0, 0, 2, width, 1, bits);
          const behind = backend.read(out, 'u8', 64, bytes) as Uint8Array;
          assert.ok(
            behind.every((byte) => byte === 0xa5),
            `${nameOf(backend)}, ${bits} bits`,
          );
          backend.free(out, 'u8', bytes + 64);
          backend.free(x, 'f32', 2 * width);
        }
      }
    }
  });
});
