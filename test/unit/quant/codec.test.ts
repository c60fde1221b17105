import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ActivationBits,
  decodeActivations,
  encodeActivations,
  encodedLength,
  isActivationBits,
} from '../../../src/quant/codec.ts';
import { FormatError, ShapeError } from '../../../src/tensor/errors.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const encode = (values: number[], bits: ActivationBits, rows = 1) =>
  encodeActivations(Float32Array.from(values), rows, values.length / rows, bits);
const formatError = (code: string) => (error: unknown) =>
  error instanceof FormatError && error.code === code;

// f16: 1 = 0x3c00, 2 = 0x4000, 0.5 = 0x3800; the stream starts with the scale, little-endian.
test('literal bytes: 16 bits is f16 little-endian', () => {
  assert.equal(hex(encode([1, -2, 0.5, 0], 16)), '003c00c000380000');
});

test('literal bytes: 8 bits is the scale, then two’s complement', () => {
  assert.equal(hex(encode([127, -127, 1, 0, -1], 8)), '003c7f810100ff');
});

test('literal bytes: 4 bits is the scale, then code + 8, low nibble first', () => {
  // codes 7 -7 1 0 -1 -> 15 1 9 8 7; the last byte is padded with zero bits
  assert.equal(hex(encode([7, -7, 1, 0, -1], 4)), '003c1f8907');
});

test('literal bytes: 3 bits is the scale, then code + 4 in a little-endian bit stream', () => {
  // codes 3 -3 1 0 -> 7 1 5 4: 7 | 1 << 3 | 5 << 6 | 4 << 9 = 0x94f
  assert.equal(hex(encode([3, -3, 1, 0], 3)), '003c4f09');
});

test('literal bytes: 2 bits is the scale, then outer | negative << 1', () => {
  // rms of (3,-3,1,-1,1) is 2.05, split 2.01: codes 1 3 0 2 0 -> 0b10_00_11_01, 0b00
  const bytes = encode([3, -3, 1, -1, 1], 2);
  const scale = (6 * 1.5104 + 3 * 0.4528) / (2 * 1.5104 ** 2 + 3 * 0.4528 ** 2);
  assert.equal(hex(bytes.subarray(2)), '8d00');
  const decoded = decodeActivations(bytes, 1, 5, 2);
  assert.ok(Math.abs((decoded[0] as number) / 1.5104 - scale) < scale / 2048);
  assert.equal(decoded[1], -(decoded[0] as number));
});

test('literal bytes: 1 bit is mean |x|, then sign bits', () => {
  assert.equal(hex(encode([3, -1, 1, -3, 2, 2, 2, 2, -2], 1)), '00400a01');
});

test('all scales of a row stand before its codes; every row starts at a byte', () => {
  const row = [...new Array(64).fill(7), 3.5];
  const bytes = encode([...row, ...row.map((value) => -value)], 4, 2);
  const first = `003c0038${'ff'.repeat(32)}0f`;
  const second = `003c0038${'11'.repeat(32)}01`;
  assert.equal(hex(bytes), first + second);
});

test('lengths', () => {
  const expected: [ActivationBits, number][] = [
    [1, 18 + 72],
    [2, 18 + 144],
    [3, 18 + 216],
    [4, 306],
    [8, 18 + 576],
    [16, 1152],
  ];
  for (const [bits, bytes] of expected) assert.equal(encodedLength(5, 576, bits), 5 * bytes);
  assert.equal(encodedLength(3, 65, 3), 3 * (4 + 25));
  assert.equal(encodedLength(0, 576, 4), 0);
  assert.equal(encodeActivations(new Float32Array(0), 0, 5, 4).length, 0);
});

test('zeros stay zeros and small values do not divide by zero', () => {
  for (const bits of [1, 2, 3, 4, 8, 16] as const) {
    const zeros = decodeActivations(encode([0, -0, 0], bits), 1, 3, bits);
    assert.deepEqual(
      [...zeros],
      [0, 0, 0].map((_, i) => (bits === 16 && i === 1 ? -0 : 0)),
    );
    const tiny = decodeActivations(encode([1e-30, -1e-40, 1e-12], bits), 1, 3, bits);
    for (const value of tiny) assert.ok(Math.abs(value) <= 2 ** -24);
  }
});

test('an attention sink of 22,500 is carried; beyond f16 the scale saturates', () => {
  for (const bits of [3, 4, 8] as const) {
    const q = 2 ** (bits - 1) - 1;
    const sink = decodeActivations(encode([22500, 1, -3], bits), 1, 3, bits);
    assert.ok(Math.abs((sink[0] as number) - 22500) <= 22500 / q);
    const huge = decodeActivations(encode([3e38, -3e38, 0], bits), 1, 3, bits);
    assert.deepEqual([...huge], [65504 * q, -65504 * q, 0]);
  }
  assert.deepEqual([...decodeActivations(encode([1e9, -1e9], 16), 1, 2, 16)], [65504, -65504]);
  assert.deepEqual([...decodeActivations(encode([1e9, -1e9], 1), 1, 2, 1)], [65504, -65504]);
  for (const value of decodeActivations(encode([1e38, -1e38], 2), 1, 2, 2)) {
    assert.ok(Number.isFinite(value));
  }
});

test('input that is not finite, or not rows * width long, is refused', () => {
  for (const bits of [1, 2, 3, 4, 8, 16] as const) {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      assert.throws(() => encode([1, 2, 3, bad], bits, 2), formatError('E_NON_FINITE'));
    }
  }
  assert.throws(() => encode([1, 2, 3, Number.NaN], 4, 2), /row 1, column 1 is NaN/);
  assert.throws(() => encodeActivations(new Float32Array(5), 2, 3, 4), ShapeError);
  assert.throws(() => decodeActivations(encode([1], 4), 1, 1, 4, new Float32Array(2)), ShapeError);
});

test('hostile lengths and bits are refused before anything is allocated', () => {
  const bytes = encode([1, 2, 3], 4);
  const hostile: [number, number, number][] = [
    [1, 4.5, 4],
    [-1, 3, 4],
    [1, -3, 4],
    [1, 0, 4],
    [2 ** 50, 0, 4],
    [2 ** 52, 2 ** 40, 4],
    [Number.NaN, 3, 4],
    [1, Number.POSITIVE_INFINITY, 4],
    [1, 3, 5],
    [1, 3, 0],
    [2 ** 31, 2 ** 10, 8],
    [1, 5, 4],
    [2, 3, 4],
  ];
  for (const [rows, width, bits] of hostile) {
    assert.throws(
      () => decodeActivations(bytes, rows, width, bits as ActivationBits),
      formatError('E_FORMAT'),
      `${rows} ${width} ${bits}`,
    );
  }
  assert.equal(isActivationBits(4), true);
  assert.equal(isActivationBits('4'), false);
});

test('scales and halves that are not finite are refused', () => {
  for (const scale of ['007c', '01fc', '007e', '0080', '00bc']) {
    assert.throws(
      () => decodeActivations(Buffer.from(`${scale}00`, 'hex'), 1, 2, 4),
      formatError('E_FORMAT'),
      scale,
    );
  }
  assert.throws(() => decodeActivations(Buffer.from('007c', 'hex'), 1, 1, 16), FormatError);
});
