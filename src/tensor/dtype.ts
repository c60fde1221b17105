/** Element types a tensor can have. `u16` carries raw f16 bits; arithmetic happens in `f32`. */
export type DType = 'f32' | 'i32' | 'i8' | 'u8' | 'u16';

/** The array that holds elements of some `DType`. */
export type TypedArray = Float32Array | Int32Array | Int8Array | Uint8Array | Uint16Array;

interface TypedArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): TypedArray;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): TypedArray;
}

const ARRAYS: Record<DType, TypedArrayConstructor> = {
  f32: Float32Array,
  i32: Int32Array,
  i8: Int8Array,
  u8: Uint8Array,
  u16: Uint16Array,
};

/** Bytes of one element. */
export function bytesPerElement(dtype: DType): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT;
}

/** A zeroed typed array of `length` elements. */
export function newTypedArray(dtype: DType, length: number): TypedArray {
  return new ARRAYS[dtype](length);
}

/** A view of `length` elements at `byteOffset`; aliases `buffer`. */
export function viewTypedArray(
  dtype: DType,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): TypedArray {
  return new ARRAYS[dtype](buffer, byteOffset, length);
}

/** The dtype whose elements a typed array holds. */
export function dtypeOf(array: TypedArray): DType {
  if (array instanceof Float32Array) return 'f32';
  if (array instanceof Int32Array) return 'i32';
  if (array instanceof Int8Array) return 'i8';
  if (array instanceof Uint16Array) return 'u16';
  return 'u8';
}

const f32Scratch = new Float32Array(1);
const u32Scratch = new Uint32Array(f32Scratch.buffer);

/** IEEE 754 half (as 16 bits) to the number it stands for. Exact. */
export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Nearest IEEE 754 half of a number, ties to even, as 16 bits. Overflow gives infinity. */
export function numberToF16(value: number): number {
  f32Scratch[0] = value;
  const bits = u32Scratch[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 65536 and above
  if (magnitude < 0x38800000) {
    // Subnormal half: scale so that its unit in the last place is 1, then round to even.
    const scaled = Math.abs(f32Scratch[0] as number) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    const up = rest > 0.5 || (rest === 0.5 && (floor & 1) === 1);
    return sign | (floor + (up ? 1 : 0));
  }
  // Rebias the exponent (127 -> 15), then round the 13 dropped bits to even; a carry into the
  // exponent, up to infinity, is what rounding means.
  const rebased = magnitude - 0x38000000;
  const rounded = rebased + 0xfff + ((rebased >>> 13) & 1);
  return sign | (rounded >>> 13);
}
