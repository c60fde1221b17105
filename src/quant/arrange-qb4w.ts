// Weights in 4 bits to the arrays that kernels read.
import { f16ToNumber } from '../tensor/dtype.ts';
import { FormatError, ShapeError } from '../tensor/errors.ts';
import { allocate, checkGroup, checkSize, roundWithin } from './arrange.ts';
import { offsetQb4w } from './kernels/gemm.ts';
import type { PackedArrays } from './packed-linear.ts';
import {
  bf16Above,
  bf16ToNumber,
  GROUP_MIN_MAX,
  GROUP_SCALE_MAX,
  qb4wScaleLayout,
  qb4wScalePlace,
  SUPER_BLOCK,
  writeU16,
} from './qb4w-scales.ts';
import { BLOCK, PANEL } from './types.ts';

/** A group of weights: that of q is `base + step q`. */
interface Group {
  base: number;
  step: number;
}

/** Where the first weights of a row lie. */
function columnOf(arrays: PackedArrays<'qb4w'>, row: number): number {
  return (Math.floor(row / PANEL) * arrays.kp * PANEL) / 2 + offsetQb4w(row % PANEL, 0);
}

/**
 * Puts the scales of the groups of one super-block in their place, and into the groups what they are
 * there: multiples of D.
 * @param kept the q (0..15) whose weight is kept as exactly as D allows
 * @param toInteger of a quotient step / D
 */
function writeScales(
  arrays: PackedArrays<'qb4w'>,
  row: number,
  start: number,
  groups: readonly Group[],
  kept: number,
  toInteger: (quotient: number) => number,
): void {
  const { scales, kp, groupSize } = arrays;
  const layout = qb4wScaleLayout(kp, groupSize);
  const panel = Math.floor(row / PANEL) * layout.bytes;
  let least = 0;
  for (const { base, step } of groups) {
    const middle = Math.abs(base + kept * step);
    least = Math.max(least, Math.abs(step) / GROUP_SCALE_MAX, middle / GROUP_MIN_MAX);
  }
  const superBits = bf16Above(least);
  const superScale = bf16ToNumber(superBits);
  groups.forEach((group, g) => {
    const place = qb4wScalePlace(layout, groupSize, row % PANEL, start + g * groupSize);
    const inSteps = (value: number) => (superScale === 0 ? 0 : value / superScale);
    // The quotient's rounding may take it past the end.
    const scale = Math.min(GROUP_SCALE_MAX, toInteger(inSteps(group.step)));
    const min = Math.round(inSteps(group.base + kept * group.step)) - kept * scale;
    writeU16(scales, panel + place.superScale, superBits);
    scales[panel + place.scale] = scale;
    writeU16(scales, panel + place.min, min);
    group.step = superScale * scale;
    group.base = superScale * min;
  });
}

/** The arrays of `packQb4w`; `firstRow` is the number of the first row, for messages. */
export function arrangeQb4w(
  weight: Float32Array,
  n: number,
  k: number,
  groupSize = 32,
  firstRow = 0,
): PackedArrays<'qb4w'> {
  checkSize('packQb4w', weight.length, n, k);
  checkGroup('packQb4w', 'qb4w', groupSize);
  const arrays = allocate('qb4w', n, k, groupSize);
  const { packed } = arrays;
  const groups: Group[] = [];
  for (let row = 0; row < n; row++) {
    const column = columnOf(arrays, row);
    const base = row * k;
    for (let block = 0; block < k; block += SUPER_BLOCK) {
      const blockEnd = Math.min(k, block + SUPER_BLOCK);
      groups.length = 0;
      // Stays 0 but for infinities and NaN, which make it NaN.
      let poison = 0;
      for (let start = block; start < blockEnd; start += groupSize) {
        const end = Math.min(blockEnd, start + groupSize);
        let least = weight[base + start];
        let most = least;
        for (let i = start; i < end; i++) {
          const value = weight[base + i];
          if (value < least) least = value;
          else if (value > most) most = value;
          poison += value * 0;
        }
        groups.push({ base: least, step: (most - least) / 15 });
      }
      if (poison !== 0) {
        throw new FormatError(`packQb4w: row ${firstRow + row} holds a weight that is not finite`);
      }
      writeScales(arrays, row, block, groups, 0, Math.ceil);
      groups.forEach(({ base: least, step }, g) => {
        if (step === 0) return;
        const start = block + g * groupSize;
        const end = Math.min(blockEnd, start + groupSize);
        for (let i = start; i < end; i++) {
          const q = roundWithin((weight[base + i] - least) / step, 0, 15);
          packed[column + offsetQb4w(0, i)] |= q << (i & 4);
        }
      });
    }
  }
  return arrays;
}

/** Packed bytes between input j and input j + 16 of a column. */
const HALF_BLOCK = offsetQb4w(0, 16);

/** Bytes of one GGUF block of 32 weights: f16 d, f16 m (Q4_1 alone), 16 bytes of nibbles. */
const BLOCK_BYTES = { q4_0: 18, q4_1: 20 } as const;

/** The q of Q4_0's zero, and the middle of Q4_1's range. */
const MIDDLE = 8;

/** The arrays of `packQ41Blocks`; `firstRow` is the number of the first row, for messages. */
export function arrangeQ41Blocks(
  bytes: Uint8Array,
  n: number,
  k: number,
  type: 'q4_1' | 'q4_0' = 'q4_1',
  firstRow = 0,
): PackedArrays<'qb4w'> {
  checkSize('packQ41Blocks', undefined, n, k);
  if (k % BLOCK !== 0) throw new ShapeError(`packQ41Blocks: K ${k} is no multiple of ${BLOCK}`);
  const size = BLOCK_BYTES[type];
  const groups = k / BLOCK;
  if (bytes.length !== n * groups * size) {
    throw new FormatError(
      `packQ41Blocks: [${n},${k}] in ${type} takes ${n * groups * size} bytes, got ${bytes.length}`,
    );
  }
  const arrays = allocate('qb4w', n, k, BLOCK);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { packed } = arrays;
  const perSuperBlock = SUPER_BLOCK / BLOCK;
  for (let row = 0; row < n; row++) {
    const column = columnOf(arrays, row);
    let together: Group[] = [];
    for (let group = 0; group < groups; group++) {
      const from = (row * groups + group) * size;
      const step = f16ToNumber(view.getUint16(from, true));
      const base = type === 'q4_1' ? f16ToNumber(view.getUint16(from + 2, true)) : -MIDDLE * step;
      if (!Number.isFinite(step) || !Number.isFinite(base)) {
        throw new FormatError(
          `packQ41Blocks: row ${firstRow + row} block ${group} has a scale not finite`,
        );
      }
      together.push({ base, step });
      if (together.length === perSuperBlock || group === groups - 1) {
        const start = (group + 1 - together.length) * BLOCK;
        writeScales(arrays, row, start, together, MIDDLE, Math.round);
        together = [];
      }
      const nibbles = from + size - 16;
      // Inputs 0..31 of the block from low nibbles, then high ones, two quads to four bytes.
      for (let j = 0; j < 16; j++) {
        const byte = bytes[nibbles + j];
        const low = column + offsetQb4w(0, group * BLOCK + j);
        packed[low] |= (byte & 15) << (j & 4);
        packed[low + HALF_BLOCK] |= (byte >> 4) << (j & 4);
      }
    }
  }
  return arrays;
}
