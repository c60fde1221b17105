/** Small tables of numbers inside JSON messages: f16 little-endian in base64. */
import { f16ToNumber, numberToF16 } from '../tensor/dtype.ts';
import { ProtocolError } from '../tensor/errors.ts';

/** Base64 of the values as f16, two bytes each. */
export function encodeHalves(values: Float32Array): string {
  let binary = '';
  for (const value of values) {
    const half = numberToF16(value);
    binary += String.fromCharCode(half & 255, half >> 8);
  }
  return btoa(binary);
}

/**
 * The values of `encodeHalves`.
 * @throws ProtocolError (E_MESSAGE_FORMAT) unless they are `count` finite numbers
 */
export function decodeHalves(text: string, count: number): Float32Array {
  const binary = atob(text);
  if (binary.length !== 2 * count) {
    throw new ProtocolError(
      `message: ${binary.length} bytes of halves where ${2 * count} were due`,
      'E_MESSAGE_FORMAT',
    );
  }
  const values = Float32Array.from({ length: count }, (_, i) =>
    f16ToNumber(binary.charCodeAt(2 * i) | (binary.charCodeAt(2 * i + 1) << 8)),
  );
  if (!values.every(Number.isFinite)) {
    throw new ProtocolError('message: a half is not finite', 'E_MESSAGE_FORMAT');
  }
  return values;
}
