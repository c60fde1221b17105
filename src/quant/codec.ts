/**
 * The activation codec of the wire: hidden states in 1, 2, 3, 4, 8 or 16 bits a value.
 *
 * A row of D values is cut into groups of 64 (the last may be short), because a decoder's rows have
 * outlier channels: one scale a row, or a tensor, would flatten everything else. Bytes of one row:
 *
 *     [scale of group 0: f16 LE] ... [scale of group G-1: f16 LE]   2 * G bytes, G = ceil(D / 64)
 *     [codes: bit stream, first value in the lowest bits]           ceil(D * bits / 8) bytes
 *
 * At 16 bits a row is D raw f16 values and no scales. docs/protocol.md has a worked example.
 */
import { f16ToNumber, numberToF16 } from '../tensor/dtype.ts';
import { FormatError, ShapeError } from '../tensor/errors.ts';

/** Bits of one activation value on the wire; 16 is f16 as it is. */
export type ActivationBits = 1 | 2 | 3 | 4 | 8 | 16;

/** Every width the codec speaks, ascending. */
export const ACTIVATION_BITS: readonly ActivationBits[] = [1, 2, 3, 4, 8, 16];

/** Values that share one scale. */
export const ACTIVATION_GROUP_SIZE = 64;

/**
 * The two magnitudes of 2-bit codes in units of the scale: the optimal four-level quantizer of a
 * unit normal (Max 1960, "Quantizing for minimum distortion", table I, N = 4).
 */
export const TWO_BIT_LEVELS = [0.4528, 1.5104] as const;

/** Between the two magnitudes, where a unit normal's nearest level changes (same table). */
const TWO_BIT_THRESHOLD = (TWO_BIT_LEVELS[0] + TWO_BIT_LEVELS[1]) / 2;

const F16_MAX = 65504;
const F16_MIN_NORMAL = 2 ** -14;
const F16_MIN = 2 ** -24;
const F32_MAX = 3.4028234663852886e38;

/** Is `bits` a width the codec speaks? */
export function isActivationBits(bits: unknown): bits is ActivationBits {
  return (ACTIVATION_BITS as readonly unknown[]).includes(bits);
}

/**
 * Bytes of `rows` encoded rows of `width` values.
 * @throws FormatError where rows, width or bits are not numbers the format can hold.
 */
export function encodedLength(rows: number, width: number, bits: ActivationBits): number {
  if (!isActivationBits(bits)) {
    throw new FormatError(`activation codec: ${bits} bits is not one of ${ACTIVATION_BITS}`);
  }
  if (!Number.isSafeInteger(rows) || rows < 0 || !Number.isSafeInteger(width) || width < 1) {
    throw new FormatError(`activation codec: bad extent, ${rows} rows of ${width} values`);
  }
  const scales = bits === 16 ? 0 : 2 * Math.ceil(width / ACTIVATION_GROUP_SIZE);
  const total = rows * (scales + Math.ceil((width * bits) / 8));
  if (!Number.isSafeInteger(total)) {
    throw new FormatError(`activation codec: ${rows} rows of ${width} values are too many`);
  }
  return total;
}

/**
 * Encodes x [R,D] (row-major) to `encodedLength(R, D, bits)` bytes; a pure function of its input.
 *
 * 3, 4, 8 bits: symmetric, codes -q..q (q = 3, 7, 127), scale = absmax / q rounded *up* to f16, so
 * that |decoded - x| <= scale / 2. 1 bit: sign, scale = mean |x| (the least-squares one). 2 bits:
 * sign and one of two magnitudes, split at 0.98 rms, scale by least squares over the chosen levels,
 * so that the error is below that of sending zeros for every input.
 * Scales and f16 values beyond 65,504 saturate, and so do the codes under a saturated scale.
 * @throws ShapeError where x is not R * D long; FormatError `E_NON_FINITE` for NaN or infinity.
 */
export function encodeActivations(
  x: Float32Array,
  rows: number,
  width: number,
  bits: ActivationBits,
): Uint8Array {
  const out = new Uint8Array(encodedLength(rows, width, bits));
  if (x.length !== rows * width) {
    throw new ShapeError(
      `encodeActivations: ${x.length} values are not ${rows} rows of ${width} values`,
    );
  }
  const bad = x.findIndex((value) => !(Math.abs(value) <= F32_MAX));
  if (bad >= 0) {
    throw new FormatError(
      `encodeActivations: row ${Math.floor(bad / width)}, column ${bad % width} is ${x[bad]}`,
      'E_NON_FINITE',
    );
  }
  encodeInto(out, x, rows, width, bits);
  return out;
}

/** Fills `out`. A group with a NaN or infinity gets an infinite scale, which no receiver takes. */
export function encodeInto(
  out: Uint8Array,
  x: Float32Array,
  rows: number,
  width: number,
  bits: ActivationBits,
): void {
  if (bits === 16) {
    for (let i = 0; i < x.length; i++) {
      const value = x[i] as number;
      const finite = Math.abs(value) <= F32_MAX;
      putF16(out, 2 * i, finite ? nearestF16(value) : value < 0 ? 0xfc00 : 0x7c00);
    }
    return;
  }
  const groups = Math.ceil(width / ACTIVATION_GROUP_SIZE);
  const codes = new Uint8Array(ACTIVATION_GROUP_SIZE);
  const rowBytes = encodedLength(1, width, bits);
  for (let row = 0; row < rows; row++) {
    const rowAt = row * rowBytes;
    // A full group's codes are 8 * bits bytes, so every group starts at a byte boundary.
    let codesAt = rowAt + 2 * groups;
    for (let group = 0; group < groups; group++) {
      const start = row * width + group * ACTIVATION_GROUP_SIZE;
      const count = Math.min(ACTIVATION_GROUP_SIZE, (row + 1) * width - start);
      putF16(out, rowAt + 2 * group, encodeGroup(x, start, count, bits, codes));
      codesAt = packCodes(codes, count, bits, out, codesAt);
    }
  }
}

/**
 * Decodes R rows of D values to f32 [R,D], into `out` where given (returned; fully overwritten).
 * @throws FormatError where the bytes are not exactly `encodedLength(R, D, bits)` long, or hold a
 *   scale that is negative, infinite or NaN; ShapeError where `out` is not R * D long.
 */
export function decodeActivations(
  bytes: Uint8Array,
  rows: number,
  width: number,
  bits: ActivationBits,
  out?: Float32Array,
): Float32Array {
  // The length is checked before anything is allocated from rows and width.
  const expected = encodedLength(rows, width, bits);
  if (bytes.length !== expected) {
    throw new FormatError(
      `decodeActivations: ${rows} rows of ${width} values at ${bits} bits take ${expected} bytes, ` +
        `got ${bytes.length}`,
    );
  }
  if (out !== undefined && out.length !== rows * width) {
    throw new ShapeError(`decodeActivations: out holds ${out.length}, needs ${rows * width}`);
  }
  const y = out ?? new Float32Array(rows * width);
  if (bits === 16) {
    decodeF16(bytes, y, width);
    return y;
  }
  const groups = Math.ceil(width / ACTIVATION_GROUP_SIZE);
  const codes = new Uint8Array(ACTIVATION_GROUP_SIZE);
  const levels = new Float64Array(1 << bits);
  const rowBytes = encodedLength(1, width, bits);
  for (let row = 0; row < rows; row++) {
    const rowAt = row * rowBytes;
    let codesAt = rowAt + 2 * groups;
    for (let group = 0; group < groups; group++) {
      const scaleBits = getU16(bytes, rowAt + 2 * group);
      if (scaleBits >= 0x7c00) {
        throw new FormatError(
          `decodeActivations: row ${row}, group ${group}: scale 0x${scaleBits.toString(16)} is not ` +
            'a finite number of at least 0',
        );
      }
      const start = row * width + group * ACTIVATION_GROUP_SIZE;
      const count = Math.min(ACTIVATION_GROUP_SIZE, (row + 1) * width - start);
      const scale = f16ToNumber(scaleBits);
      if (bits === 8) {
        for (let i = 0; i < count; i++) {
          y[start + i] = (((bytes[codesAt + i] as number) << 24) >> 24) * scale;
        }
        codesAt += count;
      } else {
        fillLevels(levels, bits, scale);
        codesAt = unpackCodes(bytes, codesAt, count, bits, codes);
        for (let i = 0; i < count; i++) y[start + i] = levels[codes[i] as number] as number;
      }
    }
  }
  return y;
}

/** Writes the codes of one group and returns its scale as f16 bits. */
function encodeGroup(
  x: Float32Array,
  start: number,
  count: number,
  bits: ActivationBits,
  codes: Uint8Array,
): number {
  for (let i = start; i < start + count; i++) {
    if (Math.abs(x[i] as number) <= F32_MAX) continue;
    codes.fill(0);
    return 0x7c00;
  }
  if (bits === 1) return encodeSigns(x, start, count, codes);
  if (bits === 2) return encodeTwoBits(x, start, count, codes);
  return encodeAbsmax(x, start, count, bits, codes);
}

/** Symmetric levels -q..q; stored as code + 2^(bits-1), at 8 bits as two's complement. */
function encodeAbsmax(
  x: Float32Array,
  start: number,
  count: number,
  bits: number,
  codes: Uint8Array,
): number {
  const q = 2 ** (bits - 1) - 1;
  let absmax = 0;
  for (let i = 0; i < count; i++) absmax = Math.max(absmax, Math.abs(x[start + i] as number));
  const scaleBits = absmaxScale(absmax / q);
  const scale = f16ToNumber(scaleBits);
  const inverse = 1 / scale;
  const limit = q * scale;
  // Shifted into the positive numbers, where truncation is rounding half up.
  const zero = 2 ** (bits - 1);
  const flip = bits === 8 ? 0x80 : 0;
  for (let i = 0; i < count; i++) {
    const value = Math.min(limit, Math.max(-limit, x[start + i] as number));
    codes[i] = Math.trunc(value * inverse + zero + 0.5) ^ flip;
  }
  return scaleBits;
}

/**
 * The f16 scale at or above `exact`, at most 65,504 and at least 2^-24, so that no value passes
 * code q and none divides by zero. Below 2^-14, where f16 loses digits, only powers of two: with
 * them the largest code stays above q / 2, and encoding what was decoded finds the same scale.
 */
function absmaxScale(exact: number): number {
  if (exact >= F16_MAX) return 0x7bff;
  if (exact < F16_MIN_NORMAL) {
    let scale = F16_MIN_NORMAL;
    while (scale / 2 >= exact && scale > F16_MIN) scale /= 2;
    return numberToF16(scale);
  }
  const nearest = numberToF16(exact);
  return f16ToNumber(nearest) < exact ? nearest + 1 : nearest;
}

/** Bit 1 = negative; a scale of zero has all bits zero, so that equal values have equal bytes. */
function encodeSigns(x: Float32Array, start: number, count: number, codes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.abs(x[start + i] as number);
  const scaleBits = nearestF16(sum / count);
  for (let i = 0; i < count; i++) {
    codes[i] = scaleBits !== 0 && (x[start + i] as number) < 0 ? 1 : 0;
  }
  return scaleBits;
}

/**
 * Bit 0 = the outer magnitude, bit 1 = negative. The rms sets only the split; the scale is the
 * least-squares one for the chosen levels, sum |x| l / sum l^2, which beats zeros on every input
 * (the error is sum x^2 - (sum |x| l)^2 / sum l^2) and is a fixed point of encode after decode.
 */
function encodeTwoBits(x: Float32Array, start: number, count: number, codes: Uint8Array): number {
  const [inner, outer] = TWO_BIT_LEVELS;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (x[start + i] as number) * (x[start + i] as number);
  const threshold = TWO_BIT_THRESHOLD * Math.sqrt(squares / count);
  let products = 0;
  let levelSquares = 0;
  for (let i = 0; i < count; i++) {
    const value = x[start + i] as number;
    const magnitude = Math.abs(value);
    const level = magnitude > threshold ? outer : inner;
    codes[i] = (level === outer ? 1 : 0) | (value < 0 ? 2 : 0);
    products += magnitude * level;
    levelSquares += level * level;
  }
  const scaleBits = nearestF16(products / levelSquares);
  if (scaleBits === 0) codes.fill(0, 0, count);
  return scaleBits;
}

/** What each code of 1 to 4 bits stands for under a scale. */
function fillLevels(levels: Float64Array, bits: ActivationBits, scale: number): void {
  if (bits === 1) {
    levels[0] = scale;
    levels[1] = -scale;
  } else if (bits === 2) {
    for (let code = 0; code < 4; code++) {
      levels[code] = (code & 2 ? -scale : scale) * TWO_BIT_LEVELS[(code & 1) as 0 | 1];
    }
  } else {
    for (let code = 0; code < 1 << bits; code++) levels[code] = (code - (1 << (bits - 1))) * scale;
  }
}

/** Packs codes, the first in the lowest bits; returns the offset after the last byte. */
function packCodes(
  codes: Uint8Array,
  count: number,
  bits: number,
  out: Uint8Array,
  at: number,
): number {
  let offset = at;
  let held = 0;
  let heldBits = 0;
  for (let i = 0; i < count; i++) {
    held |= (codes[i] as number) << heldBits;
    heldBits += bits;
    if (heldBits >= 8) {
      out[offset++] = held;
      held >>>= 8;
      heldBits -= 8;
    }
  }
  if (heldBits > 0) out[offset++] = held;
  return offset;
}

/** The inverse of packCodes, at 1 to 4 bits; ignores the padding of a last byte. */
function unpackCodes(
  bytes: Uint8Array,
  at: number,
  count: number,
  bits: number,
  codes: Uint8Array,
): number {
  const mask = (1 << bits) - 1;
  let offset = at;
  let held = 0;
  let heldBits = 0;
  for (let i = 0; i < count; i++) {
    if (heldBits < bits) {
      held |= (bytes[offset++] as number) << heldBits;
      heldBits += 8;
    }
    codes[i] = held & mask;
    held >>>= bits;
    heldBits -= bits;
  }
  return offset;
}

/** Nearest finite half of a finite number, ties to even; saturates at 65,504. */
function nearestF16(value: number): number {
  return numberToF16(Math.min(F16_MAX, Math.max(-F16_MAX, value)));
}

// Every half there is, made at the first use: 256 KiB, and a decode of one load per value.
let halves: Float32Array | undefined;

function decodeF16(bytes: Uint8Array, y: Float32Array, width: number): void {
  halves ??= Float32Array.from({ length: 65536 }, (_, bits) => f16ToNumber(bits));
  for (let i = 0; i < y.length; i++) {
    const bits = getU16(bytes, 2 * i);
    if ((bits & 0x7c00) === 0x7c00) {
      throw new FormatError(
        `decodeActivations: row ${Math.floor(i / width)}, column ${i % width} is not finite ` +
          `(f16 0x${bits.toString(16)})`,
      );
    }
    y[i] = halves[bits] as number;
  }
}

function getU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function putF16(out: Uint8Array, at: number, bits: number): void {
  out[at] = bits & 0xff;
  out[at + 1] = bits >>> 8;
}
