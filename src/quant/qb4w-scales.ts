import { BLOCK, PANEL } from './types.ts';

/**
 * Inputs whose 4-bit weights share one scale in floating point, as in ggml's super-blocks; the scales
 * of the groups in it are integers beside it. Kernels then add up 128 inputs as integers.
 */
export const SUPER_BLOCK = 128;

/** Group sizes of `qb4w`. */
export type Qb4wGroup = 32 | 64 | 128;

/** Largest magnitude of a group's integer scale. */
export const GROUP_SCALE_MAX = 127;

/** Largest magnitude of a group's integer minimum: what stays of i16 beside 8 * 127 and rounding. */
export const GROUP_MIN_MAX = 31_000;

/**
 * How the scales of a panel (8 columns) of `qb4w` lie, all columns of a record side by side: one
 * bfloat16 a super-block, then an i8 a group, then the groups' i16 minima in pairs, because the
 * kernels multiply pairs of them by pairs of sums. A group of 128 has a pair for itself.
 */
export interface Qb4wScaleLayout {
  /** Byte at which the groups' scales begin. */
  readonly scalesAt: number;
  /** Byte at which the groups' minima begin. */
  readonly minsAt: number;
  /** Bytes of a panel. */
  readonly bytes: number;
}

/** The layout for Kp inputs, a multiple of 32. */
export function qb4wScaleLayout(kp: number, groupSize: number): Qb4wScaleLayout {
  const superBlocks = Math.ceil(kp / SUPER_BLOCK);
  const pairs = superBlocks * (groupSize === BLOCK ? 2 : 1);
  const scalesAt = superBlocks * PANEL * 2;
  const minsAt = scalesAt + Math.ceil(kp / groupSize) * PANEL;
  return { scalesAt, minsAt, bytes: minsAt + pairs * PANEL * 4 };
}

/** Where the scales of one column's input lie, in bytes from the panel's. */
export interface Qb4wScalePlace {
  readonly superScale: number;
  readonly scale: number;
  readonly min: number;
}

/** The place of the scales of input i of a panel's column 0..7. */
export function qb4wScalePlace(
  { scalesAt, minsAt }: Qb4wScaleLayout,
  groupSize: number,
  column: number,
  i: number,
): Qb4wScalePlace {
  const group = Math.floor(i / groupSize);
  // Two groups a pair; one of 128 takes the first place of a pair.
  const half = groupSize === SUPER_BLOCK ? 2 * group : group;
  return {
    superScale: (Math.floor(i / SUPER_BLOCK) * PANEL + column) * 2,
    scale: scalesAt + group * PANEL + column,
    min: minsAt + ((half >> 1) * PANEL + column) * 4 + (half & 1) * 2,
  };
}

const F32 = new Float32Array(1);
const U32 = new Uint32Array(F32.buffer);

/** The least bfloat16 (the upper half of an f32) that is no less than `value` >= 0: its 16 bits. */
export function bf16Above(value: number): number {
  F32[0] = value;
  const bits = U32[0] + (F32[0] < value ? 1 : 0);
  return (bits + 0xffff) >>> 16;
}

/** The number that 16 bits of a bfloat16 stand for, exactly. */
export function bf16ToNumber(bits: number): number {
  U32[0] = (bits & 0xffff) << 16;
  return F32[0];
}

/** Two bytes at `at`, the lower first, as a number of 0..65,535. */
export function readU16(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** Two bytes at `at`, the lower first, from the low 16 bits of a number. */
export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
}

/** What stands for one group's weights: `D (s q + m)`. */
export interface Qb4wGroupScales {
  /** D. */
  readonly superScale: number;
  /** s. */
  readonly scale: number;
  /** m. */
  readonly min: number;
}

/** Reads the scales at a place of the panel whose bytes begin at `base`. */
export function readQb4wScales(
  bytes: Uint8Array,
  base: number,
  place: Qb4wScalePlace,
): Qb4wGroupScales {
  return {
    superScale: bf16ToNumber(readU16(bytes, base + place.superScale)),
    scale: (bytes[base + place.scale] << 24) >> 24,
    min: (readU16(bytes, base + place.min) << 16) >> 16,
  };
}
