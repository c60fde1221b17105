import { ShapeError } from '../errors.ts';
import { commonBackend, expectDType, Tensor } from '../tensor.ts';
import { expectRank } from './launch.ts';

/** Bits of one f32 word of codes: what f32 holds exactly. */
export const CODE_WORD_BITS = 24;

/** Packed codes on a backend, and what a code stands for. */
export interface PackedCodes {
  /** `[R, ceil(D / n)]`, n codes a word; or with `levels` null `[R, D]`, the levels themselves. */
  readonly words: Tensor;
  /** `[2^bits]`. */
  readonly levels: Tensor | null;
  /** `[R, ceil(D / group)]`. */
  readonly groupScales: Tensor;
  /** Values that share one scale. */
  readonly group: number;
  /** Of every channel, `[kinds, D]`, the kinds' rows taking turns. */
  readonly scale: Tensor;
  readonly shift: Tensor;
}

/**
 * Numbers `[R, D]` out of codes: shift + scale * level * the group's scale. What they are made of is
 * given, so it has no gradient.
 * @throws ShapeError where operands do not fit together
 */
export function dequantizeCodes(codes: PackedCodes): Tensor {
  const { words, levels, groupScales, group, scale, shift } = codes;
  const operands = [words, groupScales, scale, shift, ...(levels ? [levels] : [])];
  expectDType('dequantizeCodes', 'f32', ...operands);
  const [first, ...others] = operands;
  const backend = commonBackend('dequantizeCodes', first, ...others);
  for (const operand of [words, groupScales, scale, shift]) {
    expectRank('dequantizeCodes', operand, 2, 'operand');
  }
  const [rows, wordsPerRow] = words.shape;
  const [kinds, d] = scale.shape;
  const bits = levels ? Math.log2(levels.numel) : CODE_WORD_BITS;
  const perWord = CODE_WORD_BITS / bits;
  const fits =
    Number.isInteger(bits) &&
    Number.isInteger(perWord) &&
    wordsPerRow === Math.ceil(d / perWord) &&
    groupScales.shape[0] === rows &&
    groupScales.shape[1] === Math.ceil(d / group) &&
    shift.shape[0] === kinds &&
    shift.shape[1] === d;
  if (!fits) {
    const shapes = [words, groupScales, scale, shift].map(({ shape }) => `[${shape}]`);
    throw new ShapeError(
      `dequantizeCodes: words, scales of groups of ${group}, scale and shift ${shapes.join(', ')} of ${bits} bits do not fit together`,
    );
  }
  const out = Tensor.empty([rows, d], 'f32', backend);
  const { dequantizeCodes: kernel } = backend.kernels;
  const inputs = [words.handle, levels ? levels.handle : backend.nil, groupScales.handle];
  const [word, level, groupScale] = inputs;
  kernel(
    out.handle,
    word,
    level,
    groupScale,
    scale.handle,
    shift.handle,
    rows,
    d,
    bits,
    group,
    kinds,
  );
  return out;
}
