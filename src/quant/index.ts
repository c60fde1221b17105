export { arrangeQc8w } from './arrange.ts';
export { arrangeQ41Blocks, arrangeQb4w } from './arrange-qb4w.ts';
export {
  ACTIVATION_BITS,
  ACTIVATION_GROUP_SIZE,
  type ActivationBits,
  decodeActivations,
  encodeActivations,
  encodedLength,
  isActivationBits,
  TWO_BIT_LEVELS,
} from './codec.ts';
export {
  type CodeWords,
  codeLevels,
  codesPerWord,
  emptyCodeWords,
  rowToWords,
} from './codec-words.ts';
export { encodeRows } from './encode-rows.ts';
export type { EncodeKernel, GatherKernel, GemmKernel, QuantKernels } from './kernels/table.ts';
export { gatherQuantizedRows, linearQuantized } from './linear.ts';
export {
  emptyPacked,
  packedByteLength,
  packInPieces,
  packQ41Blocks,
  packQb4w,
  packQc8w,
} from './pack.ts';
export { type PackedArrays, PackedLinear, type PackedShape } from './packed-linear.ts';
export type { Qb4wGroup } from './qb4w-scales.ts';
export { dequantizeRows, quantizeRows } from './rows.ts';
export {
  countQuant,
  type InstalledQuant,
  installQuant,
  kernelVariant,
  type QuantVariant,
  type RelaxedDot,
} from './runtime.ts';
export {
  BLOCK,
  PACK_LAYOUT,
  PANEL,
  type QuantizedLinear,
  type QuantizedRows,
  type WeightFormat,
  ZERO_POINT,
} from './types.ts';
