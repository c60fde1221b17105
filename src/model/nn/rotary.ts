import { type Backend, disposeTree, keep, rope, type Tensor, tensor } from '../../tensor/index.ts';

/** Positions of a table at first: most texts are shorter, and it grows where one is longer. */
const FIRST_POSITIONS = 512;

/** cos and sin of every position and frequency, `[positions, headDim/2]`. */
export interface RotaryTable {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** How Llama 3.1 and later stretch the slow frequencies to a longer context. */
export interface Llama3RopeScaling {
  readonly type: 'llama3';
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositionEmbeddings: number;
}

/** Frequencies theta^(-2j/headDim), `[headDim/2]` (Su et al. 2021, eq. 15). */
export function rotaryFrequencies(headDim: number, theta: number): Float64Array {
  return Float64Array.from({ length: headDim / 2 }, (_, j) => theta ** ((-2 * j) / headDim));
}

/**
 * Llama 3's frequencies: those whose wave is longer than `original / lowFreqFactor` tokens are
 * divided by `factor`, those shorter than `original / highFreqFactor` are kept, and between the two
 * share s = (original / wave - low) / (high - low) is kept and 1 - s divided.
 * Source: transformers, `_compute_llama3_parameters`.
 */
export function scaleLlama3(frequencies: Float64Array, scaling: Llama3RopeScaling): Float64Array {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = scaling;
  return frequencies.map((frequency) => {
    const waves = (originalMaxPositionEmbeddings * frequency) / (2 * Math.PI);
    const share = (waves - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    const kept = Math.min(1, Math.max(0, share));
    return kept * frequency + ((1 - kept) * frequency) / factor;
  });
}

/**
 * Rotary table of frequencies `[headDim/2]`.
 * @param positions how many positions, from 0
 */
export function rotaryTable(
  positions: number,
  frequencies: Float64Array,
  backend: Backend,
): RotaryTable {
  const half = frequencies.length;
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let j = 0; j < half; j++) {
    for (let position = 0; position < positions; position++) {
      cos[position * half + j] = Math.cos(position * frequencies[j]);
      sin[position * half + j] = Math.sin(position * frequencies[j]);
    }
  }
  return {
    cos: tensor(cos, [positions, half], { backend }),
    sin: tensor(sin, [positions, half], { backend }),
  };
}

/** Rotary positions of a model: a table that grows with the longest sequence seen. */
export class Rotary {
  private readonly frequencies: Float64Array;
  private readonly context: number;
  private readonly backend: Backend;
  private table: RotaryTable;

  /** @param context most positions there can be */
  constructor(frequencies: Float64Array, context: number, backend: Backend) {
    this.frequencies = frequencies;
    this.context = context;
    this.backend = backend;
    this.table = this.make(Math.min(FIRST_POSITIONS, context));
  }

  /** Makes sure of the positions below `positions`, at most the context. */
  reach(positions: number): void {
    const held = this.table.cos.shape[0];
    if (positions <= held) return;
    disposeTree(this.table);
    this.table = this.make(Math.min(this.context, Math.max(positions, 2 * held)));
  }

  /** Turns the heads `[T, H, headDim]` of tokens at `positions`, i32 `[T]`. */
  turn(x: Tensor, positions: Tensor): Tensor {
    return rope(x, this.table.cos, this.table.sin, positions);
  }

  /** Gives the table's memory back. */
  dispose(): void {
    disposeTree(this.table);
  }

  private make(positions: number): RotaryTable {
    return keep(rotaryTable(positions, this.frequencies, this.backend));
  }
}
