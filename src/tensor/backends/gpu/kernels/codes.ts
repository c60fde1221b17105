import type { Kernels } from '../../../backend.ts';
import { type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';

type Sizes = 'd' | 'group' | 'groups' | 'kinds' | 'perWord' | 'wordsPerRow' | 'base';

/** A code is what is left of its word when those below it, and those above it, are taken away. */
function decoded(
  this: Thread<Sizes>,
  words: Floats,
  levels: Floats,
  groupScales: Floats,
  scale: Floats,
  shift: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const i = this.thread.x - row * this.constants.d;
  const place = quotient(i, this.constants.perWord);
  const below = i - place * this.constants.perWord;
  let word = words[row * this.constants.wordsPerRow + place];
  for (let n = 0; n < this.constants.perWord; n++) {
    if (n < below) word = quotient(word, this.constants.base);
  }
  const upper = quotient(word, this.constants.base);
  const code = word - upper * this.constants.base;
  const part = quotient(i, this.constants.group);
  const value = levels[code] * groupScales[row * this.constants.groups + part];
  const outer = quotient(row, this.constants.kinds);
  const channel = (row - outer * this.constants.kinds) * this.constants.d + i;
  return shift[channel] + scale[channel] * value;
}

/** The same where a word is a level itself. */
function scaledLevels(
  this: Thread<'d' | 'group' | 'groups' | 'kinds'>,
  words: Floats,
  groupScales: Floats,
  scale: Floats,
  shift: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const i = this.thread.x - row * this.constants.d;
  const part = quotient(i, this.constants.group);
  const value = words[this.thread.x] * groupScales[row * this.constants.groups + part];
  const outer = quotient(row, this.constants.kinds);
  const channel = (row - outer * this.constants.kinds) * this.constants.d + i;
  return shift[channel] + scale[channel] * value;
}

/** Numbers out of packed codes. */
export function codeKernels(launch: LaunchFunction) {
  return {
    dequantizeCodes(out, words, levels, groupScales, scale, shift, rows, d, bits, group, kinds) {
      const sizes = { d, group, groups: Math.ceil(d / group), kinds };
      const channels = [groupScales, scale, shift];
      if (!levels) {
        assign(launch, out, launch(scaledLevels, rows * d, [words, ...channels], sizes));
        return;
      }
      const perWord = 24 / bits;
      const places = { perWord, wordsPerRow: Math.ceil(d / perWord), base: 2 ** bits };
      const operands = [words, levels, ...channels];
      assign(launch, out, launch(decoded, rows * d, operands, { ...sizes, ...places }));
    },
  } satisfies Partial<Kernels>;
}
