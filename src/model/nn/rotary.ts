import { type Backend, type Tensor, tensor } from '../../tensor/index.ts';

/** cos and sin of every position and frequency, `[positions, headDim/2]`. */
export interface RotaryTable {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/**
 * Rotary table with frequencies theta^(-2j/headDim) (Su et al. 2021, eq. 15).
 * @param positions how many positions, from 0
 */
export function rotaryTable(
  positions: number,
  headDim: number,
  theta: number,
  backend: Backend,
): RotaryTable {
  const half = headDim / 2;
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let j = 0; j < half; j++) {
    const frequency = theta ** ((-2 * j) / headDim);
    for (let position = 0; position < positions; position++) {
      cos[position * half + j] = Math.cos(position * frequency);
      sin[position * half + j] = Math.sin(position * frequency);
    }
  }
  return {
    cos: tensor(cos, [positions, half], { backend }),
    sin: tensor(sin, [positions, half], { backend }),
  };
}
