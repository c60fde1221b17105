import { random } from '../../tensor/index.ts';
import type { StoredMatrix, WeightSource } from './weight-source.ts';

/** Standard deviation of a fresh matrix, Hugging Face's `initializer_range`. */
const INITIALIZER_RANGE = 0.02;

/** Weights nobody trained: normal matrices, norms of one, biases of zero. The control for every learning figure. */
export function randomWeightSource(seed: number): WeightSource {
  return {
    fingerprint: seed.toString(16).padStart(64, '0'),
    has: () => true,
    type: () => 'F32',
    async matrix(name, rows, columns): Promise<StoredMatrix> {
      const rng = random(seed).fork(name);
      const values = new Float32Array(rows * columns);
      for (let i = 0; i < values.length; i++) values[i] = rng.normal() * INITIALIZER_RANGE;
      return {
        rows,
        columns,
        type: 'F32',
        bytes: new Uint8Array(values.buffer),
        toFloat32: () => values,
      };
    },
    async vector(name, length) {
      return new Float32Array(length).fill(name.endsWith('Bias') ? 0 : 1);
    },
  };
}
