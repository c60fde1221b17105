import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeHalves, encodeHalves } from '../../../src/transport/index.ts';

test('halves travel as little-endian f16 in base64', () => {
  // 1.0 is 0x3c00, -2.0 is 0xc000.
  assert.equal(encodeHalves(Float32Array.of(1, -2)), 'ADwAwA==');
  assert.deepEqual(decodeHalves('ADwAwA==', 2), Float32Array.of(1, -2));
});

test('halves of the wrong number or not finite are refused', () => {
  const refused = { code: 'E_MESSAGE_FORMAT' };
  assert.throws(() => decodeHalves('ADwAwA==', 3), refused);
  assert.throws(
    () => decodeHalves(encodeHalves(Float32Array.of(Number.POSITIVE_INFINITY)), 1),
    refused,
  );
});
