import {
  type Llama,
  type LlamaConfig,
  loadLlama,
  type StoredMatrix,
  type WeightPrecision,
  type WeightSource,
} from '../../src/model/index.ts';
import { type Backend, random } from '../../src/tensor/index.ts';

/** Small enough to run by hand, with every part of a real one: grouped queries, two layers. */
export const TINY: LlamaConfig = {
  modelType: 'llama',
  hiddenSize: 32,
  intermediateSize: 64,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  headDim: 8,
  vocabSize: 97,
  maxPositionEmbeddings: 48,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  tieWordEmbeddings: true,
};

/**
 * A matrix or vector by name. Large enough weights that attention is far from uniform and the
 * residual stream from its start; norms around 1.
 */
export function tinyValues(seed: number, name: string, shape: readonly number[]): Float32Array {
  const rng = random(seed).fork(name);
  if (shape.length === 1)
    return Float32Array.from({ length: shape[0] }, () => rng.uniform(0.5, 1.5));
  const deviation = name === 'embedTokens' ? 1 : 1.5 / Math.sqrt(shape[1]);
  return Float32Array.from({ length: shape[0] * shape[1] }, () => rng.normal(0, deviation));
}

/** Weights of `tinyValues`. */
export function tinySource(seed: number): WeightSource {
  return {
    fingerprint: seed.toString(16).padStart(64, '0'),
    has: () => true,
    type: () => 'F32',
    async matrix(name, rows, columns): Promise<StoredMatrix> {
      const values = tinyValues(seed, name, [rows, columns]);
      const bytes = new Uint8Array(values.buffer);
      return { rows, columns, type: 'F32', bytes, toFloat32: () => values };
    },
    async vector(name, length) {
      return tinyValues(seed, name, [length]);
    },
  };
}

/** A model of `TINY`, changed by `config`. */
export function tinyLlama(
  backend: Backend,
  options: { seed?: number; precision?: WeightPrecision; config?: Partial<LlamaConfig> } = {},
): Promise<Llama> {
  const { seed = 1, precision = 'f32', config } = options;
  return loadLlama({ ...TINY, ...config }, tinySource(seed), precision, backend);
}

/** `count` token ids that depend on the seed alone. */
export function tinyIds(count: number, seed = 1): Int32Array {
  const rng = random(seed).fork('ids');
  return Int32Array.from({ length: count }, () => rng.int(TINY.vocabSize));
}
