import type { Backend } from './backend.ts';
import type { Shape } from './shape.ts';
import { Tensor } from './tensor.ts';

/** A seeded stream of random numbers: the same on every machine. */
export interface Random {
  /** The next 32 bits, as an integer in 0 .. 2^32 - 1. */
  bits(): number;
  /** Uniform in [0, 1), in steps of 2^-32. */
  next(): number;
  /** Uniform in [low, high); [0, 1) by default. */
  uniform(low?: number, high?: number): number;
  /** Normal by the polar method (Marsaglia & Bray 1964); standard by default. */
  normal(mean?: number, deviation?: number): number;
  /** Uniform whole number in 0 .. n-1, without bias. */
  int(n: number): number;
  /** Shuffles in place (Fisher-Yates); returns its argument. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T;
  /** The numbers 0 .. n-1 in random order. */
  permutation(n: number): Int32Array;
  /**
   * An independent stream, fixed by this one's seed and the label alone: not by how many numbers
   * were drawn, so a part of a program can draw more without moving all others.
   */
  fork(label: string | number): Random;
}

const TWO_32 = 2 ** 32;

/** Finaliser of MurmurHash3 (Appleby): every input bit moves about half of the output's. */
function mix32(value: number): number {
  let h = value >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A 53-bit seed and a label, to four words of state. */
function seedState(seed: number, path: string): Uint32Array {
  let hash = mix32(seed >>> 0) ^ mix32(Math.floor(seed / TWO_32) + 0x9e3779b9);
  for (let i = 0; i < path.length; i++) hash = mix32(Math.imul(hash, 31) + path.charCodeAt(i) + 1);
  // Weyl sequence through a mixer, as SplitMix does it (Steele et al. 2014); never all zero.
  return Uint32Array.from({ length: 4 }, (_, i) => mix32(hash + Math.imul(i + 1, 0x9e3779b9)));
}

function rotateLeft(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

/**
 * A generator, xoshiro128** (Blackman & Vigna 2021, period 2^128 - 1), from a whole number.
 * Statistics are for simulation; never for secrets.
 */
export function random(seed: number): Random {
  return stream(Math.abs(Math.trunc(seed)) * 2 + (seed < 0 ? 1 : 0), '');
}

function stream(seed: number, path: string): Random {
  const s = seedState(seed, path);
  let spare: number | undefined;

  const bits = (): number => {
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotateLeft(s[3], 11);
    return result;
  };
  const next = (): number => bits() / TWO_32;
  const standardNormal = (): number => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    for (;;) {
      const x = 2 * next() - 1;
      const y = 2 * next() - 1;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(square)) / square);
      spare = y * factor;
      return x * factor;
    }
  };
  const int = (n: number): number => {
    // Draws past the last whole multiple of n would favour the small ones.
    const limit = TWO_32 - (TWO_32 % n);
    let draw = bits();
    while (draw >= limit) draw = bits();
    return draw % n;
  };
  const shuffle = <T extends { length: number; [index: number]: unknown }>(items: T): T => {
    for (let i = items.length - 1; i > 0; i--) {
      const j = int(i + 1);
      const held = items[i];
      items[i] = items[j];
      items[j] = held;
    }
    return items;
  };
  return {
    bits,
    next,
    uniform: (low = 0, high = 1) => low + (high - low) * next(),
    normal: (mean = 0, deviation = 1) => mean + deviation * standardNormal(),
    int,
    shuffle,
    permutation: (n) => shuffle(Int32Array.from({ length: n }, (_, i) => i)),
    fork: (label) => stream(seed, `${path}/${label}`),
  };
}

function filled(shape: Shape, backend: Backend | undefined, draw: () => number): Tensor {
  const out = Tensor.empty(shape, 'f32', backend);
  out.write(Float32Array.from({ length: out.numel }, draw));
  return out;
}

/** An f32 tensor of normal numbers with mean 0 and the given deviation. */
export function randomNormal(
  shape: Shape,
  deviation: number,
  rng: Random,
  backend?: Backend,
): Tensor {
  return filled(shape, backend, () => rng.normal(0, deviation));
}

/** An f32 tensor of uniform numbers in [low, high). */
export function randomUniform(
  shape: Shape,
  low: number,
  high: number,
  rng: Random,
  backend?: Backend,
): Tensor {
  return filled(shape, backend, () => rng.uniform(low, high));
}
