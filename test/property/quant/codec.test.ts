import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  ACTIVATION_GROUP_SIZE,
  type ActivationBits,
  decodeActivations,
  encodeActivations,
  encodedLength,
} from '../../../src/quant/codec.ts';
import { FormatError } from '../../../src/tensor/errors.ts';

// A quotient that is a tie in exact arithmetic may fall to either side by a rounding of f64.
const TIE_SLACK = 1 + 1e-12;

const bitsOf = fc.constantFrom<ActivationBits>(1, 2, 3, 4, 8, 16);
// 1, a prime, the group's edge and its neighbours, two groups and a bit.
const widths = fc.oneof(
  fc.constantFrom(1, 2, 7, 63, 64, 65, 127, 128, 129),
  fc.integer({ min: 1, max: 200 }),
);
// Mantissa and exponent apart, so that all magnitudes of f32 are met, the zeros and ties included.
const values = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }).map((i) => Math.fround(i / 8)),
  fc
    .tuple(fc.integer({ min: -(2 ** 24), max: 2 ** 24 }), fc.integer({ min: -60, max: 20 }))
    .map(([mantissa, exponent]) => Math.fround(mantissa * 2 ** exponent)),
);
const matrices = fc.record({ rows: fc.integer({ min: 0, max: 4 }), width: widths }).chain((size) =>
  fc.record({
    rows: fc.constant(size.rows),
    width: fc.constant(size.width),
    x: fc
      .array(values, { minLength: size.rows * size.width, maxLength: size.rows * size.width })
      .map((list) => Float32Array.from(list)),
  }),
);

/** The scale of the group that holds a column, read from the documented layout. */
function scaleAt(bytes: Uint8Array, row: number, column: number, rowBytes: number): number {
  const at = row * rowBytes + 2 * Math.floor(column / ACTIVATION_GROUP_SIZE);
  const bits = new DataView(bytes.buffer, bytes.byteOffset).getUint16(at, true);
  const exponent = bits >> 10;
  return exponent === 0
    ? (bits & 0x3ff) * 2 ** -24
    : (1 + (bits & 0x3ff) / 1024) * 2 ** (exponent - 15);
}

test('the error is at most half a scale at 3, 4 and 8 bits', () => {
  fc.assert(
    fc.property(matrices, fc.constantFrom<ActivationBits>(3, 4, 8), ({ rows, width, x }, bits) => {
      const bytes = encodeActivations(x, rows, width, bits);
      const y = decodeActivations(bytes, rows, width, bits);
      const rowBytes = encodedLength(1, width, bits);
      const q = 2 ** (bits - 1) - 1;
      for (let i = 0; i < x.length; i++) {
        const scale = scaleAt(bytes, Math.floor(i / width), i % width, rowBytes);
        const value = x[i] as number;
        const reachable = Math.min(q * scale, Math.max(-q * scale, value));
        if (scale < 65504) assert.equal(reachable, value);
        assert.ok(Math.abs((y[i] as number) - reachable) <= (scale / 2) * TIE_SLACK);
      }
    }),
  );
});

test('the length is exact and encode is a fixed point after decode', () => {
  fc.assert(
    fc.property(matrices, bitsOf, ({ rows, width, x }, bits) => {
      const bytes = encodeActivations(x, rows, width, bits);
      assert.equal(bytes.length, encodedLength(rows, width, bits));
      const y = decodeActivations(bytes, rows, width, bits);
      assert.deepEqual(encodeActivations(y, rows, width, bits), bytes);
    }),
    { numRuns: 300 },
  );
});

test('rows are coded alone: a matrix is its rows one after another', () => {
  fc.assert(
    fc.property(matrices, bitsOf, ({ rows, width, x }, bits) => {
      const whole = encodeActivations(x, rows, width, bits);
      const parts = Array.from({ length: rows }, (_, row) =>
        encodeActivations(x.slice(row * width, (row + 1) * width), 1, width, bits),
      );
      assert.deepEqual(Buffer.concat(parts), Buffer.from(whole));
    }),
  );
});

test('1 and 2 bits are never worse than sending zeros', () => {
  // The scale's rounding to f16 moves it by at most 2^-11 of itself, or 2^-25 where it is subnormal.
  fc.assert(
    fc.property(matrices, fc.constantFrom<ActivationBits>(1, 2), ({ rows, width, x }, bits) => {
      const y = decodeActivations(encodeActivations(x, rows, width, bits), rows, width, bits);
      let error = 0;
      let energy = 0;
      for (let i = 0; i < x.length; i++) {
        error += ((x[i] as number) - (y[i] as number)) ** 2;
        energy += (x[i] as number) ** 2;
      }
      assert.ok(error <= energy * (1 + 2 ** -11) + x.length * 2 ** -46);
    }),
  );
});

test('on Gaussian data the error falls with the bits, 2 bits to about the optimum 0.1175', () => {
  // Box-Muller over a small generator; a sample of 38,400 gives the ratio to about a percent.
  let state = 12345;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const x = Float32Array.from(
    { length: 600 * 64 },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
  const relative = ([1, 2, 3, 4, 8, 16] as const).map((bits) => {
    const y = decodeActivations(encodeActivations(x, 600, 64, bits), 600, 64, bits);
    let error = 0;
    let energy = 0;
    for (let i = 0; i < x.length; i++) {
      error += ((x[i] as number) - (y[i] as number)) ** 2;
      energy += (x[i] as number) ** 2;
    }
    return error / energy;
  });
  for (let i = 1; i < relative.length; i++) {
    assert.ok((relative[i] as number) < (relative[i - 1] as number), `${relative}`);
  }
  assert.ok((relative[0] as number) < 1 - 2 / Math.PI + 0.02, '1 bit: 1 - 2 / pi');
  assert.ok((relative[1] as number) < 0.1175 + 0.005, '2 bits');
});

test('arbitrary bytes decode to finite numbers or fail with a FormatError', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 120 }),
      fc.integer({ min: -1, max: 5 }),
      fc.integer({ min: -1, max: 140 }),
      bitsOf,
      (bytes, rows, width, bits) => {
        try {
          const y = decodeActivations(bytes, rows, width, bits);
          assert.equal(y.length, rows * width);
          assert.ok(y.every(Number.isFinite));
        } catch (error) {
          assert.ok(error instanceof FormatError);
        }
      },
    ),
  );
  // Random sizes hardly ever match, so the same again with the right length.
  fc.assert(
    fc.property(widths, bitsOf, fc.infiniteStream(fc.nat(255)), (width, bits, stream) => {
      const length = encodedLength(2, width, bits);
      const bytes = Uint8Array.from({ length }, () => stream.next().value);
      try {
        assert.ok(decodeActivations(bytes, 2, width, bits).every(Number.isFinite));
      } catch (error) {
        assert.ok(error instanceof FormatError);
      }
    }),
  );
});

test('decode fills a given array', () => {
  fc.assert(
    fc.property(matrices, bitsOf, ({ rows, width, x }, bits) => {
      const bytes = encodeActivations(x, rows, width, bits);
      const out = new Float32Array(rows * width).fill(Number.NaN);
      assert.equal(decodeActivations(bytes, rows, width, bits, out), out);
      assert.deepEqual(out, decodeActivations(bytes, rows, width, bits));
    }),
  );
});
