import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bytesPerElement,
  dtypeOf,
  f16ToNumber,
  newTypedArray,
  numberToF16,
  viewTypedArray,
} from '../../../src/tensor/index.ts';

test('all 65,536 halves survive the way to a number and back', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = f16ToNumber(bits);
    const isNaNHalf = (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
    if (isNaNHalf) {
      assert.ok(Number.isNaN(value));
      assert.ok(Number.isNaN(f16ToNumber(numberToF16(value))));
    } else if (numberToF16(value) !== bits) {
      assert.fail(`0x${bits.toString(16)} is ${value}, which becomes ${numberToF16(value)}`);
    }
  }
});

test('halves stand for the numbers of IEEE 754', () => {
  const known: [number, number][] = [
    [0x0000, 0],
    [0x3c00, 1],
    [0xc000, -2],
    [0x3555, 0.333251953125],
    [0x7bff, 65504],
    [0x0400, 2 ** -14],
    [0x0001, 2 ** -24],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xfc00, Number.NEGATIVE_INFINITY],
  ];
  for (const [bits, value] of known) assert.equal(f16ToNumber(bits), value);
  assert.ok(Object.is(f16ToNumber(0x8000), -0));
});

test('between two neighbouring halves the nearer one is taken, the even one in the middle', () => {
  // Every finite positive half and its successor; differences of halves are exact in f32.
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [low, high] = [f16ToNumber(bits), f16ToNumber(bits + 1)];
    const gap = high - low;
    const even = bits & 1 ? bits + 1 : bits;
    if (
      numberToF16(low + gap / 4) !== bits ||
      numberToF16(low + (gap * 3) / 4) !== bits + 1 ||
      numberToF16(low + gap / 2) !== even ||
      numberToF16(-low - gap / 2) !== (even | 0x8000)
    ) {
      assert.fail(`rounding is wrong above 0x${bits.toString(16)}`);
    }
  }
});

test('past the largest half there is infinity, from the middle on', () => {
  assert.equal(numberToF16(65519.99), 0x7bff);
  assert.equal(numberToF16(65520), 0x7c00);
  assert.equal(numberToF16(1e30), 0x7c00);
  assert.equal(numberToF16(Number.NEGATIVE_INFINITY), 0xfc00);
});

test('typed arrays and dtypes name one another', () => {
  const sizes = { f32: 4, i32: 4, i8: 1, u8: 1, u16: 2 } as const;
  for (const dtype of ['f32', 'i32', 'i8', 'u8', 'u16'] as const) {
    const array = newTypedArray(dtype, 3);
    assert.equal(dtypeOf(array), dtype);
    assert.equal(array.byteLength, 3 * sizes[dtype]);
    assert.equal(bytesPerElement(dtype), sizes[dtype]);
    const view = viewTypedArray(dtype, array.buffer, sizes[dtype], 2);
    view[0] = 7;
    assert.equal(array[1], 7);
  }
});
