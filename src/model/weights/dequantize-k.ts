import { halfAt, halfTable } from './half-table.ts';

/*
 * ggml's K-quants: super-blocks of 256 elements, whose groups of 16 or 32 have small integer
 * scales (and minima) of their own under one or two halves. Source of layouts and formulas: ggml's
 * ggml-quants.c, `block_q*_K` and `dequantize_row_q*_K`.
 *
 * A half has 11 significant bits, a group's scale at most 7, an element at most 5 beside its sign:
 * the product is exact in f32 and in f64, and so is the f64 difference of two of them. The one
 * rounding is that to f32, here as in ggml's f32 arithmetic and in the Python package's, whatever
 * the order of the factors.
 */

/** Elements of a super-block. */
const SUPER = 256;

/**
 * Q2_K, 84 bytes: 16 bytes of 4-bit scale (low) and 4-bit minimum (high), one for 16 elements;
 * 64 bytes of 2-bit q; f16 d, f16 dmin. Element i has its two bits in byte 32 floor(i / 128) +
 * i mod 32, at bit 2 (floor(i / 32) mod 4); `x = d scale q - dmin minimum`.
 */
export function dequantizeQ2K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 84, to += SUPER) {
    const d = halfAt(half, bytes, at + 80);
    const dmin = halfAt(half, bytes, at + 82);
    for (let i = 0; i < SUPER; i += 16) {
      const scales = bytes[at + (i >> 4)];
      const scale = d * (scales & 15);
      const min = dmin * (scales >> 4);
      const quants = at + 16 + ((i >> 7) << 5) + (i & 31);
      const shift = (i >> 4) & 6;
      for (let l = 0; l < 16; l++) {
        out[to + i + l] = scale * ((bytes[quants + l] >> shift) & 3) - min;
      }
    }
  }
}

/**
 * Q3_K, 110 bytes: 32 bytes of third bits; 64 bytes of the lower two, laid out as in Q2_K; 12 bytes
 * of 6-bit scales, one for 16 elements; f16 d. The third bit of element i is bit floor(i / 32) of
 * byte i mod 32, and a bit that is 0 takes 4 away; `x = d (scale - 32) q`. Scale s has its low four
 * bits in byte s mod 8 (low nibble for s < 8), its high two in byte 8 + s mod 4 at bit
 * 2 floor(s / 4).
 */
export function dequantizeQ3K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 110, to += SUPER) {
    const d = halfAt(half, bytes, at + 108);
    const scales = at + 96;
    for (let i = 0; i < SUPER; i += 16) {
      const s = i >> 4;
      const low = (bytes[scales + (s & 7)] >> ((s >> 3) << 2)) & 15;
      const high = (bytes[scales + 8 + (s & 3)] >> ((s >> 2) << 1)) & 3;
      const scale = d * ((low | (high << 4)) - 32);
      const thirds = at + (i & 31);
      const thirdBit = i >> 5;
      const quants = at + 32 + ((i >> 7) << 5) + (i & 31);
      const shift = (i >> 4) & 6;
      for (let l = 0; l < 16; l++) {
        const third = (bytes[thirds + l] >> thirdBit) & 1;
        out[to + i + l] = scale * (((bytes[quants + l] >> shift) & 3) - 4 + (third << 2));
      }
    }
  }
}

/**
 * A group's 6-bit scale and minimum out of the 12 bytes at `at` of Q4_K and Q5_K, as scale +
 * 64 minimum. Groups 0..3: the low six bits of bytes g and g + 4. Groups 4..7: low nibble and high
 * nibble of byte g + 4, with the high two bits of bytes g - 4 and g on top (ggml's
 * `get_scale_min_k4`).
 */
function scaleAndMin(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return (bytes[at + group] & 63) | ((bytes[at + group + 4] & 63) << 6);
  const nibbles = bytes[at + group + 4];
  const scale = (nibbles & 15) | ((bytes[at + group - 4] >> 6) << 4);
  const min = (nibbles >> 4) | ((bytes[at + group] >> 6) << 4);
  return scale | (min << 6);
}

/**
 * Q4_K, 144 bytes: f16 d, f16 dmin; 12 bytes of scales and minima, a pair for 32 elements; 128
 * bytes of nibbles, where byte 32 p + l holds element 64 p + l low and 64 p + 32 + l high;
 * `x = d scale q - dmin minimum`.
 */
export function dequantizeQ4K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 144, to += SUPER) {
    const d = halfAt(half, bytes, at);
    const dmin = halfAt(half, bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const pair = scaleAndMin(bytes, at + 4, group);
      const scale = d * (pair & 63);
      const min = dmin * (pair >> 6);
      const nibbles = at + 16 + ((group >> 1) << 5);
      const shift = (group & 1) << 2;
      for (let l = 0; l < 32; l++) {
        out[to + 32 * group + l] = scale * ((bytes[nibbles + l] >> shift) & 15) - min;
      }
    }
  }
}

/**
 * Q5_K, 176 bytes: Q4_K with 32 bytes of fifth bits before the nibbles; that of element i is bit
 * floor(i / 32) of byte i mod 32.
 */
export function dequantizeQ5K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 176, to += SUPER) {
    const d = halfAt(half, bytes, at);
    const dmin = halfAt(half, bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const pair = scaleAndMin(bytes, at + 4, group);
      const scale = d * (pair & 63);
      const min = dmin * (pair >> 6);
      const nibbles = at + 48 + ((group >> 1) << 5);
      const shift = (group & 1) << 2;
      for (let l = 0; l < 32; l++) {
        const fifth = (bytes[at + 16 + l] >> group) & 1;
        const q = ((bytes[nibbles + l] >> shift) & 15) | (fifth << 4);
        out[to + 32 * group + l] = scale * q - min;
      }
    }
  }
}

/**
 * Q6_K, 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed bytes of scales,
 * one for 16 elements, f16 d. With i = 128 h + 32 j + l: the nibble is in byte 64 h + 32 (j mod 2) +
 * l (high half for j > 1), the pair in byte 32 h + l at bit 2 j; `x = d scale (q - 32)`.
 */
export function dequantizeQ6K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 210, to += SUPER) {
    const d = halfAt(half, bytes, at + 208);
    for (let i = 0; i < SUPER; i += 16) {
      const scale = d * ((bytes[at + 192 + (i >> 4)] << 24) >> 24);
      const j = (i >> 5) & 3;
      const l = i & 31;
      const nibbles = at + ((i >> 7) << 6) + ((j & 1) << 5) + l;
      const nibbleShift = (j >> 1) << 2;
      const pairs = at + 128 + ((i >> 7) << 5) + l;
      for (let k = 0; k < 16; k++) {
        const low = (bytes[nibbles + k] >> nibbleShift) & 15;
        const high = (bytes[pairs + k] >> (2 * j)) & 3;
        out[to + i + k] = scale * ((low | (high << 4)) - 32);
      }
    }
  }
}
