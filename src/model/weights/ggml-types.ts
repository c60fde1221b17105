/**
 * Element types of GGUF tensors: `[name, block size in elements, bytes of a block]` by the type id
 * that stands in the file. Source: ggml's `ggml_type` and `type_traits` (ggml.h, ggml.c). Ids that
 * are missing were given up by ggml (4, 5, 31-33, 36-38).
 */
const TABLE = {
  0: ['F32', 1, 4],
  1: ['F16', 1, 2],
  2: ['Q4_0', 32, 18],
  3: ['Q4_1', 32, 20],
  6: ['Q5_0', 32, 22],
  7: ['Q5_1', 32, 24],
  8: ['Q8_0', 32, 34],
  9: ['Q8_1', 32, 36],
  10: ['Q2_K', 256, 84],
  11: ['Q3_K', 256, 110],
  12: ['Q4_K', 256, 144],
  13: ['Q5_K', 256, 176],
  14: ['Q6_K', 256, 210],
  15: ['Q8_K', 256, 292],
  16: ['IQ2_XXS', 256, 66],
  17: ['IQ2_XS', 256, 74],
  18: ['IQ3_XXS', 256, 98],
  19: ['IQ1_S', 256, 50],
  20: ['IQ4_NL', 32, 18],
  21: ['IQ3_S', 256, 110],
  22: ['IQ2_S', 256, 82],
  23: ['IQ4_XS', 256, 136],
  24: ['I8', 1, 1],
  25: ['I16', 1, 2],
  26: ['I32', 1, 4],
  27: ['I64', 1, 8],
  28: ['F64', 1, 8],
  29: ['IQ1_M', 256, 56],
  30: ['BF16', 1, 2],
  34: ['TQ1_0', 256, 54],
  35: ['TQ2_0', 256, 66],
  39: ['MXFP4', 32, 17],
} as const;

/** The name of an element type, as ggml spells it. */
export type GgmlType = (typeof TABLE)[keyof typeof TABLE][0];

/** How one element type lies in memory. */
export interface GgmlTypeLayout {
  readonly name: GgmlType;
  /** The number that stands for it in a file. */
  readonly id: number;
  /** Elements of one block; a row is a whole number of blocks. */
  readonly blockSize: number;
  /** Bytes of one block. */
  readonly blockBytes: number;
}

const ENTRIES: readonly GgmlTypeLayout[] = Object.entries(TABLE).map(
  ([id, [name, blockSize, blockBytes]]) => ({ name, id: Number(id), blockSize, blockBytes }),
);

/** Every element type that a GGUF file may declare, by name. */
export const ggmlTypes: ReadonlyMap<GgmlType, GgmlTypeLayout> = new Map(
  ENTRIES.map((type) => [type.name, type]),
);

/** Every element type that a GGUF file may declare, by the id in the file. */
export const ggmlTypesById: ReadonlyMap<number, GgmlTypeLayout> = new Map(
  ENTRIES.map((type) => [type.id, type]),
);
