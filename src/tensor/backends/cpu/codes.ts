import type { Kernels } from '../../backend.ts';

/** Numbers out of packed codes. */
export const codeKernels = {
  dequantizeCodes(out, words, levels, groupScales, scale, shift, rows, d, bits, group, kinds) {
    const perWord = levels ? 24 / bits : 1;
    const wordsPerRow = Math.ceil(d / perWord);
    const groups = Math.ceil(d / group);
    const mask = 2 ** bits - 1;
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < d; i++) {
        const word = words[r * wordsPerRow + Math.floor(i / perWord)];
        const level = levels ? levels[(word >> (bits * (i % perWord))) & mask] : word;
        const c = (r % kinds) * d + i;
        const value = level * groupScales[r * groups + Math.floor(i / group)];
        out[r * d + i] = shift[c] + scale[c] * value;
      }
    }
  },
} satisfies Partial<Kernels>;
