import {
  installQuant,
  kernelVariant,
  packQb4w,
  packQc8w,
  type QuantizedLinear,
} from '../../src/quant/index.ts';
import { hasRelaxedSimd } from '../../src/tensor/backends/wasm/features.ts';
import { type Backend, cpuBackend, wasmBackend } from '../../src/tensor/index.ts';

/** The reference. */
export const scalar: Backend = cpuBackend();

function forced(variant: 'simd128' | 'relaxed', dot?: 'i32' | 'i16'): Backend {
  const backend = wasmBackend({ variant });
  installQuant(backend, { variant, dot });
  return backend;
}

/** Every way in which this machine can run the integer kernels, beside the reference. */
export const simd: readonly Backend[] = [
  forced('simd128'),
  ...(hasRelaxedSimd() ? [forced('relaxed', 'i32'), forced('relaxed', 'i16')] : []),
];

/** Names for messages. */
export const nameOf = (backend: Backend) => kernelVariant(backend);

/** Weight formats as tests write them: `qc8w`, `qc8w/64`, `qb4w/32`. */
export const FORMATS = [
  'qc8w',
  'qc8w/32',
  'qc8w/64',
  'qc8w/128',
  'qb4w/32',
  'qb4w/64',
  'qb4w/128',
] as const;

/** Packs a matrix [N,K] in a format of `FORMATS`. */
export function pack(
  format: (typeof FORMATS)[number],
  weight: Float32Array,
  n: number,
  k: number,
  backend: Backend,
): QuantizedLinear {
  const [name, group] = format.split('/');
  if (name === 'qc8w') {
    return packQc8w(weight, n, k, { backend, groupSize: group ? Number(group) : undefined });
  }
  return packQb4w(weight, n, k, { backend, groupSize: Number(group) as 32 | 64 | 128 });
}

/** A small random generator: values depend on the seed alone. */
export function randomOf(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** `count` values in -1..1; about one in sixteen is an outlier thirty times as large. */
export function valuesOf(seed: number, count: number): Float32Array {
  const next = randomOf(seed);
  return Float32Array.from({ length: count }, () => (next() * 2 - 1) * (next() < 1 / 16 ? 30 : 1));
}
