import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  gatherQuantizedRows,
  installQuant,
  kernelVariant,
  linearQuantized,
  packQb4w,
  packQc8w,
  quantizeRows,
} from '../../../src/quant/index.ts';
import type { PackedLinear } from '../../../src/quant/packed-linear.ts';
import {
  BackendError,
  cpuBackend,
  DisposedError,
  DTypeError,
  ShapeError,
  scope,
  tensor,
  wasmBackend,
} from '../../../src/tensor/index.ts';
import { nameOf, scalar, simd } from '../../support/quant.ts';

const everywhere = [scalar, ...simd];

describe('quantizeRows', () => {
  it('rounds to nearest, ties to even, on a scale of absmax / 127', () => {
    for (const backend of everywhere) {
      scope(() => {
        const x = tensor([127, 0.5, 1.5, 2.5, -0.5, -1.5, -127, 0.49], [1, 8], { backend });
        const q = quantizeRows(x);
        assert.deepEqual([...q.data.toArray()].slice(0, 9), [127, 0, 2, 2, 0, -2, -127, 0, 0]);
        assert.deepEqual([...q.scales.toArray()], [1]);
        assert.deepEqual([...q.sums.toArray()], [2]);
      });
    }
  });

  it('zeros, tiny, infinite and NaN rows are defined', () => {
    const k = 20;
    const rows = [0, -0, 1e-38, Number.POSITIVE_INFINITY, Number.NaN, 3e38].map((value) => {
      const row = new Float32Array(k).fill(1e-39);
      row[17] = value;
      return [...row];
    });
    for (const backend of everywhere) {
      scope(() => {
        const q = quantizeRows(tensor(rows.flat(), [rows.length, k], { backend }));
        const scales = [...q.scales.toArray()];
        assert.deepEqual(scales.slice(0, 5), [0, 0, 0, Number.NaN, Number.NaN]);
        assert.ok(scales[5] > 2e36);
        const data = q.data.toArray();
        assert.ok(data.subarray(0, 5 * 32).every((value) => value === 0));
        assert.equal(data[5 * 32 + 17], 127);
        const w = packQc8w(new Float32Array(k).fill(1), 1, k, { backend });
        const y = linearQuantized(q, w).toFloat32();
        assert.deepEqual([...y.subarray(0, 5)], [0, 0, 0, Number.NaN, Number.NaN], nameOf(backend));
        w.dispose();
      });
    }
  });

  it('refuses other ranks, dtypes and group sizes', () => {
    scope(() => {
      const backend = scalar;
      const of = (shape: number[]) => tensor(new Float32Array(64), shape, { backend });
      assert.throws(() => quantizeRows(of([64])), ShapeError);
      assert.throws(() => quantizeRows(of([1, 64]), { groupSize: 33 }), ShapeError);
      assert.throws(() => quantizeRows(of([1, 64]), { groupSize: 0 }), ShapeError);
      assert.throws(() => quantizeRows(of([1, 64]), { groupSize: -32 }), ShapeError);
      assert.throws(() => quantizeRows(of([1, 64]), { groupSize: Number.NaN }), ShapeError);
      assert.throws(() => quantizeRows(tensor(new Int32Array(4), [1, 4], { backend })), DTypeError);
    });
  });
});

describe('linearQuantized', () => {
  it('multiplies, adds bias, then residual', () => {
    for (const backend of everywhere) {
      scope(() => {
        const x = quantizeRows(tensor([127, -127, 0, 127], [2, 2], { backend }));
        const w = packQc8w(Float32Array.of(63, 0, 0, 63, 63, 63), 3, 2, { backend });
        const bias = tensor([1, 2, 3], [3], { backend });
        const residual = tensor([10, 20, 30, 40, 50, 60], [2, 3], { backend });
        const y = linearQuantized(x, w, { bias, residual });
        const p = 127 * 63;
        assert.deepEqual([...y.toFloat32()], [p + 11, 22 - p, 33, 41, 52 + p, 63 + p]);
        assert.deepEqual(y.shape, [2, 3]);
        w.dispose();
      });
    }
  });

  it('takes no rows', () => {
    for (const backend of everywhere) {
      scope(() => {
        using w = packQb4w(new Float32Array(64), 2, 32, { backend });
        const y = linearQuantized(
          quantizeRows(tensor(new Float32Array(0), [0, 32], { backend })),
          w,
        );
        assert.deepEqual(y.shape, [0, 2]);
      });
    }
  });

  it('refuses what does not fit, naming both operands', () => {
    scope(() => {
      const backend = scalar;
      const of = (shape: number[], values = shape.reduce((a, b) => a * b)) =>
        tensor(new Float32Array(values), shape, { backend });
      using w = packQc8w(new Float32Array(2 * 96), 2, 96, { backend, groupSize: 96 });
      using grouped = packQc8w(new Float32Array(2 * 192), 2, 192, { backend, groupSize: 96 });
      const x = quantizeRows(of([3, 96]));
      assert.throws(
        () => linearQuantized(quantizeRows(of([3, 64])), w),
        /inner lengths differ, rows \[3,64\], weight \[2,96\]/,
      );
      assert.throws(() => linearQuantized(x, w, { bias: of([3]) }), /bias \[3\], columns 2/);
      assert.throws(() => linearQuantized(x, w, { bias: of([2, 1]) }), ShapeError);
      assert.throws(() => linearQuantized(x, w, { residual: of([2, 3]) }), /residual \[2,3\]/);
      assert.throws(
        () => linearQuantized(quantizeRows(of([1, 192]), { groupSize: 64 }), grouped),
        /group sizes do not nest, rows 64, weight 96/,
      );
      const other = cpuBackend();
      using elsewhere = packQc8w(new Float32Array(2 * 96), 2, 96, { backend: other });
      assert.throws(() => linearQuantized(x, elsewhere), BackendError);
      const ids = tensor(Int32Array.of(0), [1], { backend });
      assert.throws(() => gatherQuantizedRows(elsewhere, ids), BackendError);
      const fake = { kind: 'quantized' } as unknown as PackedLinear;
      assert.throws(() => linearQuantized(x, fake), DTypeError);
      for (const id of [-1, 2, 2 ** 30]) {
        const bad = tensor(Int32Array.of(0, id), [2], { backend });
        assert.throws(() => gatherQuantizedRows(w, bad), /outside 0\.\.1/);
      }
      w.dispose();
      assert.throws(() => linearQuantized(x, w), DisposedError);
    });
  });

  it('holds no memory but its result, and packed weights survive scopes', () => {
    for (const backend of everywhere) {
      const before = backend.memory().bytes;
      const w = scope(() => packQb4w(new Float32Array(40 * 64).fill(0.5), 40, 64, { backend }));
      const held = backend.memory().bytes - before;
      assert.ok(held >= w.byteLength, `${held} < ${w.byteLength}`);
      for (let step = 0; step < 50; step++) {
        scope(() => {
          const x = quantizeRows(tensor(new Float32Array(5 * 64).fill(1), [5, 64], { backend }));
          assert.ok(Math.abs(linearQuantized(x, w).toFloat32()[7] - 32) < 0.1);
        });
        assert.equal(backend.memory().bytes - before, held);
      }
      w.dispose();
      w.dispose();
      assert.equal(backend.memory().bytes, before);
    }
  });
});

describe('installQuant', () => {
  it('tells what runs, and refuses what cannot', () => {
    const cpu = cpuBackend();
    assert.equal(kernelVariant(cpu), 'gemmQd8F32Qc8w scalar');
    assert.equal(kernelVariant(cpu, 'gatherRowsQb4w'), 'gatherRowsQb4w scalar');
    assert.throws(() => installQuant(cpu, { variant: 'relaxed' }), BackendError);
    const plain = wasmBackend({ variant: 'simd128' });
    assert.equal(kernelVariant(plain), 'gemmQd8F32Qc8w simd128');
    assert.throws(() => installQuant(plain, { variant: 'scalar' }), BackendError);
    for (const backend of simd.slice(1)) assert.match(nameOf(backend), /relaxed \(i(16|32) dot\)/);
  });
});
