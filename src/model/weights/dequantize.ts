import { FormatError } from '../../tensor/errors.ts';
import {
  dequantizeQ2K,
  dequantizeQ3K,
  dequantizeQ4K,
  dequantizeQ5K,
  dequantizeQ6K,
} from './dequantize-k.ts';
import { type GgmlType, type GgmlTypeLayout, ggmlTypes } from './ggml-types.ts';
import { halfAt, halfTable } from './half-table.ts';

export { type GgmlType, type GgmlTypeLayout, ggmlTypes, ggmlTypesById } from './ggml-types.ts';

type Decode = (bytes: Uint8Array, out: Float32Array) => void;

/** The numbers themselves, little-endian. */
function dequantizeF32(bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
}

/** IEEE 754 halves, little-endian. */
function dequantizeF16(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let i = 0; i < out.length; i++) {
    out[i] = half[(bytes[2 * i] as number) | ((bytes[2 * i + 1] as number) << 8)] as number;
  }
}

/**
 * Q4_0, 32 elements in 18 bytes: f16 d, then 16 bytes of nibbles; element j < 16 is the low nibble
 * of byte j, element 16 + j its high nibble; `x = d (q - 8)`. Source: ggml-quants.c,
 * `dequantize_row_q4_0`.
 */
function dequantizeQ40(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 18, to += 32) {
    const d = half[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number;
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 2 + j] as number;
      out[to + j] = ((pair & 15) - 8) * d;
      out[to + 16 + j] = ((pair >> 4) - 8) * d;
    }
  }
}

/**
 * Q4_1, 32 elements in 20 bytes: f16 d, f16 m, then nibbles as in Q4_0; `x = d q + m`.
 * Source: ggml-quants.c, `dequantize_row_q4_1`. `d q` is exact in f32 (15 bits), so the one
 * rounding is that of the sum, here as in C.
 */
function dequantizeQ41(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 20, to += 32) {
    const d = half[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number;
    const m = half[(bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8)] as number;
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 4 + j] as number;
      out[to + j] = (pair & 15) * d + m;
      out[to + 16 + j] = (pair >> 4) * d + m;
    }
  }
}

/**
 * Q8_0, 32 elements in 34 bytes: f16 d, then 32 signed bytes; `x = d q`. Source: ggml-quants.c,
 * `dequantize_row_q8_0`.
 */
function dequantizeQ80(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 34, to += 32) {
    const d = half[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number;
    for (let j = 0; j < 32; j++) out[to + j] = (((bytes[at + 2 + j] as number) << 24) >> 24) * d;
  }
}

/** bfloat16, little-endian: the upper half of an f32. */
function dequantizeBf16(bytes: Uint8Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) bits[i] = (bytes[2 * i] << 16) | (bytes[2 * i + 1] << 24);
}

/**
 * Q5_0, 32 elements in 22 bytes: f16 d, 4 bytes of fifth bits (that of element j is bit j of the
 * little-endian word), nibbles as in Q4_0; `x = d (q - 16)`. Source: ggml-quants.c,
 * `dequantize_row_q5_0`.
 */
function dequantizeQ50(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 22, to += 32) {
    const d = halfAt(half, bytes, at);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 6 + j];
      out[to + j] = (((pair & 15) | fifthBit(bytes, at + 2, j)) - 16) * d;
      out[to + 16 + j] = (((pair >> 4) | fifthBit(bytes, at + 2, 16 + j)) - 16) * d;
    }
  }
}

/**
 * Q5_1, 32 elements in 24 bytes: f16 d, f16 m, then fifth bits and nibbles as in Q5_0;
 * `x = d q + m`, where the sum is the one rounding. Source: ggml-quants.c, `dequantize_row_q5_1`.
 */
function dequantizeQ51(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, to = 0; to < out.length; at += 24, to += 32) {
    const d = halfAt(half, bytes, at);
    const m = halfAt(half, bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 8 + j];
      out[to + j] = ((pair & 15) | fifthBit(bytes, at + 4, j)) * d + m;
      out[to + 16 + j] = ((pair >> 4) | fifthBit(bytes, at + 4, 16 + j)) * d + m;
    }
  }
}

/** 16 where bit j of the word at byte `at` is set, else 0. */
function fifthBit(bytes: Uint8Array, at: number, j: number): number {
  return ((bytes[at + (j >> 3)] >> (j & 7)) & 1) << 4;
}

const DECODERS = {
  F32: dequantizeF32,
  F16: dequantizeF16,
  BF16: dequantizeBf16,
  Q4_0: dequantizeQ40,
  Q4_1: dequantizeQ41,
  Q5_0: dequantizeQ50,
  Q5_1: dequantizeQ51,
  Q8_0: dequantizeQ80,
  Q2_K: dequantizeQ2K,
  Q3_K: dequantizeQ3K,
  Q4_K: dequantizeQ4K,
  Q5_K: dequantizeQ5K,
  Q6_K: dequantizeQ6K,
} as const satisfies Partial<Record<GgmlType, Decode>>;

/** Element types whose numbers can be had as f32. */
export const dequantizableTypes = Object.keys(DECODERS) as (keyof typeof DECODERS)[];

/** Whether `dequantize` decodes the type. */
export function isDequantizable(type: GgmlType): type is keyof typeof DECODERS {
  return Object.hasOwn(DECODERS, type);
}

/**
 * The numbers that a tensor's bytes stand for, as f32 in the same order.
 * @param bytes whole blocks of `type`; read only.
 * @param numel how many numbers that must be.
 * @throws FormatError `E_GGUF_TYPE` for a type without a decoder here, by name; `E_GGUF_TENSOR`
 * when `bytes` is not exactly the blocks of `numel` elements.
 */
export function dequantize(type: GgmlType, bytes: Uint8Array, numel: number): Float32Array {
  if (!isDequantizable(type)) {
    throw new FormatError(
      `dequantize: type ${type} is not supported; supported are ${dequantizableTypes.join(', ')}`,
      'E_GGUF_TYPE',
    );
  }
  const { blockSize, blockBytes } = ggmlTypes.get(type) as GgmlTypeLayout;
  if (bytes.byteLength * blockSize !== numel * blockBytes || numel % blockSize !== 0) {
    throw new FormatError(
      `dequantize: ${numel} elements of ${type} (${blockBytes} bytes for ${blockSize}) do not fit ${bytes.byteLength} bytes`,
      'E_GGUF_TENSOR',
    );
  }
  const out = new Float32Array(numel);
  DECODERS[type](bytes, out);
  return out;
}
