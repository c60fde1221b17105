import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  gatherQuantizedRows,
  packQ41Blocks,
  packQb4w,
  packQc8w,
  type QuantizedLinear,
} from '../../../src/quant/index.ts';
import type { PackedLinear } from '../../../src/quant/packed-linear.ts';
import {
  cpuBackend,
  FormatError,
  numberToF16,
  ShapeError,
  scope,
  tensor,
} from '../../../src/tensor/index.ts';

const backend = cpuBackend();
const bytesOf = (w: QuantizedLinear) => [...(w as PackedLinear).packed.toArray()];
const scalesOf = (w: QuantizedLinear) => [...(w as PackedLinear).scales.toArray()];

describe('packing', () => {
  it('qc8w: [N/8][K/4][8 columns][4] bytes, weight + 64, K padded to 32', () => {
    // Row 0: 63 sets the scale to 1. Row 1: scale 2. Rows 2..8 are zeros but for one weight.
    const weight = new Float32Array(9 * 5);
    weight.set([63, 1, -2, 3, -4], 0);
    weight.set([-126, 2, 4, 0, 10], 5);
    weight.set([0, 0, 0, 0, 63], 8 * 5);
    const w = packQc8w(weight, 9, 5, { backend });
    assert.equal(w.byteLength, 16 * 32 + 16 * 4);
    const bytes = bytesOf(w);
    assert.deepEqual(bytes.slice(0, 12), [127, 65, 62, 67, 1, 65, 66, 64, 64, 64, 64, 64]);
    assert.deepEqual(bytes.slice(32, 40), [60, 64, 64, 64, 69, 64, 64, 64]);
    assert.deepEqual(bytes.slice(256 + 32, 256 + 36), [127, 64, 64, 64]);
    assert.ok(bytes.slice(40, 256).every((byte) => byte === 64));
    assert.deepEqual(scalesOf(w), [1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    w.dispose();
  });

  it('qc8w with groups: scales [N/8][groups][8]', () => {
    const weight = new Float32Array(2 * 64);
    weight[0] = 63;
    weight[32] = -126;
    weight[64] = 6.3;
    weight[64 + 63] = 126;
    const w = packQc8w(weight, 2, 64, { groupSize: 32, backend });
    const scales = scalesOf(w);
    assert.deepEqual([scales[0], scales[8], scales[9]], [1, 2, 2]);
    assert.equal(scales[1], Math.fround(Math.fround(6.3) / 63));
    w.dispose();
  });

  it('qb4w: [N/8][K/8][8 columns][4] bytes, inputs 0..3 low, 4..7 high', () => {
    // 0..15 and 15..0: scale 1, min 0.
    const weight = new Float32Array(2 * 32);
    for (let i = 0; i < 32; i++) {
      weight[i] = i % 16;
      weight[32 + i] = 15 - (i % 16);
    }
    const w = packQb4w(weight, 2, 32, { groupSize: 32, backend });
    const bytes = bytesOf(w);
    assert.deepEqual(bytes.slice(0, 4), [0x40, 0x51, 0x62, 0x73]);
    assert.deepEqual(bytes.slice(4, 8), [0xbf, 0xae, 0x9d, 0x8c]);
    assert.deepEqual(bytes.slice(32, 40), [0xc8, 0xd9, 0xea, 0xfb, 0x37, 0x26, 0x15, 0x04]);
    // D is 1 / 127 rounded up to bfloat16, 0x3c02: 0.00793457; 127 of them are the first step above 1.
    const scales = scalesOf(w);
    assert.deepEqual(scales.slice(0, 6), [0x02, 0x3c, 0x02, 0x3c, 0, 0]);
    assert.deepEqual(scales.slice(16, 24), [127, 127, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(scales.slice(24), Array(64).fill(0));
    assert.equal(w.byteLength, 8 * 16 + 16 + 8 + 64);
    w.dispose();
  });

  it('Q4_1 block: byte j holds weight j low and j + 16 high', () => {
    const block = new Uint8Array(20);
    const view = new DataView(block.buffer);
    view.setUint16(0, numberToF16(0.5), true);
    view.setUint16(2, numberToF16(-3), true);
    for (let j = 0; j < 16; j++) block[4 + j] = j | ((15 - j) << 4);
    const w = packQ41Blocks(block, 1, 32, { backend });
    const row = scope(() =>
      gatherQuantizedRows(w, tensor(Int32Array.of(0), [1], { backend })).toFloat32(),
    );
    // A step of 0.5 is 127 D; D, 0.5 / 127 rounded up to bfloat16, is 0.5 / 126.03: at most half a D of error.
    [-3, -2.5, -2, -1.5].forEach((value, i) => {
      assert.ok(Math.abs(row[i] - value) < 2e-3, `[${i}]: ${row[i]}`);
    });
    [4.5, 4, 3.5].forEach((value, i) => {
      assert.ok(Math.abs(row[16 + i] - value) < 2e-3, `[${16 + i}]: ${row[16 + i]}`);
    });
    assert.deepEqual(bytesOf(w).slice(0, 4), [0x40, 0x51, 0x62, 0x73]);
    assert.deepEqual(bytesOf(w).slice(2 * 32, 2 * 32 + 4), [0xbf, 0xae, 0x9d, 0x8c]);
    w.dispose();
  });

  it('a row of one value, of zeros, of tiny and of large ones', () => {
    const rows = [Array(32).fill(0.25), Array(32).fill(0), Array(32).fill(1e-40)];
    const weight = Float32Array.from(rows.flat());
    for (const [w, tolerance] of [
      [packQc8w(weight, 3, 32, { backend }), 1e-7],
      // A minimum is a multiple of a 31,000th of the largest.
      [packQb4w(weight, 3, 32, { backend }), 0.25 / 31_000],
    ] as const) {
      const got = scope(() =>
        gatherQuantizedRows(w, tensor(Int32Array.of(0, 1, 2), [3], { backend })).toFloat32(),
      );
      got.forEach((value, i) => {
        assert.ok(Math.abs(value - weight[i]) < tolerance, `${w.format} [${i}]: ${value}`);
      });
      w.dispose();
    }
  });

  it('refuses sizes, groups and values that do not fit, and allocates nothing', () => {
    const before = backend.memory();
    const f32 = (n: number) => new Float32Array(n);
    const shape = (message: RegExp) => (error: unknown) =>
      error instanceof ShapeError && message.test(error.message);
    const format = (message: RegExp) => (error: unknown) =>
      error instanceof FormatError && message.test(error.message);
    for (const pack of [packQc8w, packQb4w]) {
      assert.throws(() => pack(f32(6), 2, 4, { backend }), shape(/6 values do not fill \[2,4\]/));
      assert.throws(() => pack(f32(0), 0, 4, { backend }), shape(/\[0,4\] is no matrix/));
      assert.throws(() => pack(f32(4), 1, -4, { backend }), shape(/is no matrix/));
      assert.throws(() => pack(f32(4), 1.5, 4, { backend }), shape(/is no matrix/));
      assert.throws(() => pack(f32(4), Number.NaN, 4, { backend }), shape(/is no matrix/));
      assert.throws(() => pack(f32(4), 1, 2 ** 20, { backend }), shape(/above 131072/));
      const odd = { groupSize: 48 as 64, backend };
      assert.throws(() => pack(f32(96), 1, 96, odd), shape(/48 is no multiple of 32/));
      const nan = Float32Array.of(1, Number.NaN, 2, 3);
      assert.throws(() => pack(nan, 1, 4, { backend }), format(/row 0/));
      const infinite = Float32Array.of(1, 2, 2, 3, 4, Number.NEGATIVE_INFINITY, 0, 0);
      assert.throws(() => pack(infinite, 2, 4, { backend }), format(/row 1/));
    }
    const blocks = (n: number) => new Uint8Array(n);
    assert.throws(() => packQ41Blocks(blocks(20), 1, 31, { backend }), shape(/31 is no multiple/));
    assert.throws(() => packQ41Blocks(blocks(19), 1, 32, { backend }), format(/takes 20 bytes/));
    assert.throws(
      () => packQ41Blocks(blocks(20), 1, 32, { type: 'q4_0', backend }),
      format(/takes 18 bytes, got 20/),
    );
    const infinite = blocks(20);
    infinite.set([0x00, 0x7c]);
    assert.throws(() => packQ41Blocks(infinite, 1, 32, { backend }), format(/not finite/));
    assert.deepEqual(backend.memory(), before);
  });
});
