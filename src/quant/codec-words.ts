import { f16ToNumber } from '../tensor/dtype.ts';
import { FormatError } from '../tensor/errors.ts';
import {
  ACTIVATION_GROUP_SIZE,
  type ActivationBits,
  decodeActivations,
  encodedLength,
  TWO_BIT_LEVELS,
} from './codec.ts';

/** Codes of one f32 word; at 16 bits a word is a value. A code of 16 bits would waste a third of it. */
export function codesPerWord(bits: ActivationBits): number {
  return bits === 16 ? 1 : 24 / bits;
}

/** What each code stands for under a scale of 1, `[2^bits]`; null at 16 bits, where values are words. */
export function codeLevels(bits: ActivationBits): Float32Array | null {
  const [inner, outer] = TWO_BIT_LEVELS;
  if (bits === 16) return null;
  if (bits === 1) return Float32Array.of(1, -1);
  if (bits === 2) return Float32Array.of(inner, outer, -inner, -outer);
  const zero = 2 ** (bits - 1);
  // At 8 bits codes are two's complement, else they are shifted.
  const levelOf = (code: number) => (bits < 8 ? code - zero : code < zero ? code : code - 2 * zero);
  return Float32Array.from({ length: 2 ** bits }, (_, code) => levelOf(code));
}

/** Where the words and the scales of rows go: one row behind the other. */
export interface CodeWords {
  /** `[R, ceil(D / codesPerWord)]`, whole numbers below 2^24, the first code in the lowest bits. */
  readonly words: Float32Array;
  /** `[R, ceil(D / 64)]`. */
  readonly groupScales: Float32Array;
}

/** Room for so many rows. */
export function emptyCodeWords(rows: number, width: number, bits: ActivationBits): CodeWords {
  return {
    words: new Float32Array(rows * Math.ceil(width / codesPerWord(bits))),
    groupScales: new Float32Array(rows * Math.ceil(width / ACTIVATION_GROUP_SIZE)),
  };
}

/**
 * Puts an encoded row's codes, still packed, into f32 words of 24 bits, which every GPU holds exactly:
 * a third more bytes than it came in, at 4 bits a sixth of its values in f32.
 * @param at which row of `out` it is
 * @throws FormatError as `decodeActivations`
 */
export function rowToWords(
  bytes: Uint8Array,
  width: number,
  bits: ActivationBits,
  out: CodeWords,
  at: number,
): void {
  const groups = Math.ceil(width / ACTIVATION_GROUP_SIZE);
  const wordsPerRow = Math.ceil(width / codesPerWord(bits));
  const words = out.words.subarray(at * wordsPerRow, (at + 1) * wordsPerRow);
  const groupScales = out.groupScales.subarray(at * groups, (at + 1) * groups);
  if (bits === 16) {
    decodeActivations(bytes, 1, width, bits, words);
    groupScales.fill(1);
    return;
  }
  if (bytes.length !== encodedLength(1, width, bits)) {
    throw new FormatError(`rowToWords: ${bytes.length} bytes are no row of ${width} values`);
  }
  for (let group = 0; group < groups; group++) {
    const scale = bytes[2 * group] | (bytes[2 * group + 1] << 8);
    if (scale >= 0x7c00) {
      throw new FormatError(
        `rowToWords: group ${group}: scale 0x${scale.toString(16)} is not a finite number of at least 0`,
      );
    }
    groupScales[group] = f16ToNumber(scale);
  }
  // Behind the last byte there are none: a typed array gives undefined there, and `|` makes it 0.
  for (let word = 0, from = 2 * groups; word < wordsPerRow; word++, from += 3) {
    words[word] = bytes[from] | (bytes[from + 1] << 8) | (bytes[from + 2] << 16);
  }
}
