import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  dequantizeRows,
  gatherQuantizedRows,
  linearQuantized,
  packQ41Blocks,
  quantizeRows,
} from '../../../src/quant/index.ts';
import { type Backend, f16ToNumber, scope, tensor } from '../../../src/tensor/index.ts';
import { FORMATS, nameOf, pack, randomOf, scalar, simd, valuesOf } from '../../support/quant.ts';
import { seed } from '../../support/sizes.ts';

/** Unit roundoff of f32. */
const F32 = 2 ** -24;
/** What rounding up to bfloat16 adds at most. */
const BF16 = 2 ** -7;

/** A group of 4-bit weights: its least, and a 15th of its range. */
interface Group {
  readonly least: number;
  readonly step: number;
}

/** At least D of a super-block: `kept` is the q whose weight is kept as exactly as D allows. */
function superScale(groups: readonly Group[], kept: number): number {
  const needs = groups.map(({ least, step }) =>
    Math.max(Math.abs(step) / 127, Math.abs(least + kept * step) / 31_000),
  );
  return Math.max(...needs) * (1 + BF16);
}

/** The parts of `size` of a row, the last one may be shorter. */
function partsOf(row: Float32Array, size: number): Float32Array[] {
  const count = Math.ceil(row.length / size);
  return Array.from({ length: count }, (_, p) => row.subarray(p * size, (p + 1) * size));
}

/** A group of packed numbers as `packQb4w` sees it. */
function groupOf(values: Float32Array): Group {
  const least = values.reduce((a, b) => Math.min(a, b));
  return { least, step: (values.reduce((a, b) => Math.max(a, b)) - least) / 15 };
}

const backends: readonly Backend[] = [scalar, ...simd];
const sizes = {
  m: fc.constantFrom(1, 3, 4, 5, 17),
  n: fc.constantFrom(1, 7, 8, 9, 16),
  k: fc.constantFrom(1, 31, 32, 33, 64, 100, 256),
  from: seed,
};

/** Every row of a packed matrix [N,K] as f32. */
function dequantized(backend: Backend, w: ReturnType<typeof pack>): Float32Array {
  const ids = Int32Array.from({ length: w.outFeatures }, (_, i) => i);
  return scope(() => gatherQuantizedRows(w, tensor(ids, undefined, { backend })).toFloat32());
}

describe('quantization error', () => {
  it('rows: at most half a step', () => {
    const group = fc.constantFrom(undefined, 32, 64);
    fc.assert(
      fc.property(sizes.m, sizes.k, group, sizes.from, (m, k, groupSize, from) => {
        const x = valuesOf(from, m * k);
        for (const backend of backends) {
          const { got, scales, step } = scope(() => {
            const q = quantizeRows(tensor(x, [m, k], { backend }), { groupSize });
            return { got: dequantizeRows(q), scales: q.scales.toFloat32(), step: q.groupSize };
          });
          const groups = scales.length / m;
          x.forEach((value, i) => {
            const scale = scales[Math.floor(i / k) * groups + Math.floor((i % k) / step)];
            // The product with 127 / absmax is rounded twice in f32 before the nearest integer.
            const bound = scale * (0.5 + 128 * 3 * F32) + Math.abs(value) * F32;
            assert.ok(Math.abs(got[i] - value) <= bound, `${nameOf(backend)} [${i}] ${value}`);
          });
        }
      }),
      { numRuns: 40 },
    );
  });

  it('weights: at most half a step, of 4 bits also half of D', () => {
    const format = fc.constantFrom(...FORMATS);
    fc.assert(
      fc.property(format, sizes.n, sizes.k, sizes.from, (which, n, k, from) => {
        const w = valuesOf(from, n * k);
        const packed = pack(which, w, n, k, scalar);
        const got = dequantized(scalar, packed);
        const { groupSize } = packed;
        packed.dispose();
        for (let row = 0; row < n; row++) {
          const whole = w.subarray(row * k, (row + 1) * k);
          for (let i = 0; i < k; i++) {
            const { least, step } = groupOf(partsOf(whole, groupSize)[Math.floor(i / groupSize)]);
            const absmax = Math.max(-least, least + 15 * step);
            const among = partsOf(whole, 128)[i >> 7];
            const bound = which.startsWith('qc8w')
              ? (absmax / 63) * 0.5
              : (step + superScale(partsOf(among, groupSize).map(groupOf), 0)) / 2;
            const error = Math.abs(got[row * k + i] - whole[i]);
            const allowed = bound * (1 + 4 * F32) + 4 * absmax * F32;
            assert.ok(error <= allowed, `${which} [${row},${i}]: ${error} > ${allowed}`);
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it('products: what the steps of both operands and f32 sums allow, against float64', () => {
    const params = fc.record({
      ...sizes,
      group: fc.constantFrom(undefined, 32, 64),
      format: fc.constantFrom(...FORMATS),
    });
    fc.assert(
      fc.property(params, ({ m, n, k, from, group, format }) => {
        const x = valuesOf(from, m * k);
        const w = valuesOf(from + 1, n * k);
        for (const backend of backends) {
          const weight = pack(format, w, n, k, backend);
          const wq = dequantized(backend, weight);
          const { xq, y } = scope(() => {
            const q = quantizeRows(tensor(x, [m, k], { backend }), { groupSize: group });
            return { xq: dequantizeRows(q), y: linearQuantized(q, weight).toFloat32() };
          });
          weight.dispose();
          // Each run of 32 or more inputs costs at most five f32 operations, the end one more.
          const operations = 5 * Math.ceil(k / 32) + 1;
          for (let row = 0; row < m; row++) {
            for (let j = 0; j < n; j++) {
              let exact = 0;
              let step = 0;
              let size = 0;
              const least = w.subarray(j * k, j * k + k).reduce((a, b) => Math.min(a, b), 0);
              for (let i = 0; i < k; i++) {
                const [a, b] = [x[row * k + i], w[j * k + i]];
                const [aq, bq] = [xq[row * k + i], wq[j * k + i]];
                exact += a * b;
                step += Math.abs(aq) * Math.abs(b - bq) + Math.abs(b) * Math.abs(a - aq);
                // 4-bit terms are a sum of q * scale and min, each as large as both together.
                size += Math.abs(aq) * (Math.abs(bq) + 2 * Math.abs(least));
              }
              const error = Math.abs(y[row * n + j] - exact);
              const bound = step + operations * 2 * F32 * size;
              assert.ok(error <= bound, `${nameOf(backend)} ${format}: ${error} > ${bound}`);
            }
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it('GGUF blocks: at most 4.5 D from Q4_1 and Q4_0, whose zeros stay zeros', () => {
    const params = fc.record({
      n: sizes.n,
      blocks: fc.constantFrom(1, 2, 3, 5),
      type: fc.constantFrom('q4_1' as const, 'q4_0' as const),
      from: seed,
    });
    fc.assert(
      fc.property(params, ({ n, blocks, type, from }) => {
        const next = randomOf(from);
        const size = type === 'q4_1' ? 20 : 18;
        const bytes = Uint8Array.from({ length: n * blocks * size }, () => next() * 256);
        const view = new DataView(bytes.buffer);
        const expected = new Float64Array(n * blocks * 32);
        const groups: Group[] = [];
        for (let block = 0; block < n * blocks; block++) {
          // Halves of every sign and of magnitudes from subnormal to 32.
          const half = () => ((next() < 0.5 ? 0x8000 : 0) | Math.floor(next() * 0x5000)) >>> 0;
          view.setUint16(block * size, half(), true);
          if (type === 'q4_1') view.setUint16(block * size + 2, half(), true);
          const step = f16ToNumber(view.getUint16(block * size, true));
          const least =
            type === 'q4_1' ? f16ToNumber(view.getUint16(block * size + 2, true)) : -8 * step;
          groups.push({ least, step });
          for (let i = 0; i < 32; i++) {
            const byte = bytes[block * size + size - 16 + (i % 16)];
            const q = i < 16 ? byte & 15 : byte >> 4;
            expected[block * 32 + i] = step * q + least;
          }
        }
        for (const backend of backends) {
          const w = packQ41Blocks(bytes, n, blocks * 32, { type, backend });
          const got = dequantized(backend, w);
          w.dispose();
          got.forEach((value, i) => {
            const block = Math.floor(i / 32);
            const row = block - (block % blocks);
            const first = row + (((block - row) >> 2) << 2);
            const among = groups.slice(first, Math.min(first + 4, row + blocks));
            const bound = 4.5 * superScale(among, 8) + Math.abs(value) * F32;
            const error = Math.abs(value - expected[i]);
            assert.ok(error <= bound, `${nameOf(backend)} [${i}]: ${error} > ${bound}`);
            if (type === 'q4_0' && expected[i] === 0) assert.equal(value, 0);
          });
        }
      }),
      { numRuns: 40 },
    );
  });
});
