import { f16ToNumber } from '../../tensor/dtype.ts';

let halves: Float32Array | null = null;

/** All 65,536 halves as f32: a table, since every block starts with one or two of them. */
export function halfTable(): Float32Array {
  if (halves === null)
    halves = Float32Array.from({ length: 65_536 }, (_, bits) => f16ToNumber(bits));
  return halves;
}

/** The half at byte `at`, little-endian, by a table out of `halfTable`. */
export function halfAt(half: Float32Array, bytes: Uint8Array, at: number): number {
  return half[bytes[at] | (bytes[at + 1] << 8)];
}
