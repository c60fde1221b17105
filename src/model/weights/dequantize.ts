import { f16ToNumber } from '../../tensor/dtype.ts';
import { FormatError } from '../../tensor/errors.ts';
import { type GgmlType, type GgmlTypeLayout, ggmlTypes } from './ggml-types.ts';

export { type GgmlType, type GgmlTypeLayout, ggmlTypes, ggmlTypesById } from './ggml-types.ts';

/** Element types whose numbers can be had as f32. */
export const dequantizableTypes = ['F32', 'F16', 'Q4_0', 'Q4_1', 'Q8_0'] as const;

let halves: Float32Array | null = null;

/** All 65,536 halves as f32: a table, since every block starts with one or two of them. */
function halfTable(): Float32Array {
  if (halves === null)
    halves = Float32Array.from({ length: 65_536 }, (_, bits) => f16ToNumber(bits));
  return halves;
}

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

const DECODERS: Record<(typeof dequantizableTypes)[number], Decode> = {
  F32: dequantizeF32,
  F16: dequantizeF16,
  Q4_0: dequantizeQ40,
  Q4_1: dequantizeQ41,
  Q8_0: dequantizeQ80,
};

/**
 * The numbers that a tensor's bytes stand for, as f32 in the same order.
 * @param bytes whole blocks of `type`; read only.
 * @param numel how many numbers that must be.
 * @throws FormatError `E_GGUF_TYPE` for a type without a decoder here, by name; `E_GGUF_TENSOR`
 * when `bytes` is not exactly the blocks of `numel` elements.
 */
export function dequantize(type: GgmlType, bytes: Uint8Array, numel: number): Float32Array {
  const decode: Decode | undefined = (DECODERS as Partial<Record<GgmlType, Decode>>)[type];
  if (decode === undefined) {
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
  decode(bytes, out);
  return out;
}
