import fc from 'fast-check';
import {
  gatherQuantizedRows,
  installQuant,
  kernelVariant,
  linearQuantized,
  packQb4w,
  packQc8w,
  type QuantizedLinear,
  quantizeRows,
} from '../../src/quant/index.ts';
import { hasRelaxedSimd } from '../../src/tensor/backends/wasm/features.ts';
import {
  type Backend,
  cpuBackend,
  scope,
  type TypedArray,
  tensor,
  wasmBackend,
} from '../../src/tensor/index.ts';
import { seed } from './sizes.ts';

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

/** One call of every integer kernel: sizes, formats, what is added, and the seed of all values. */
export function kernelCases(sizes: Record<'m' | 'n' | 'k', fc.Arbitrary<number>>) {
  return fc.record({
    ...sizes,
    group: fc.constantFrom(undefined, 32, 64, 128),
    format: fc.constantFrom(...FORMATS),
    bias: fc.boolean(),
    residual: fc.boolean(),
    from: seed,
  });
}

/** A case of `kernelCases`. */
export type KernelCase =
  ReturnType<typeof kernelCases> extends fc.Arbitrary<infer Case> ? Case : never;

/** Rows that are looked up: the last, the first, the middle one, and enough to be worth sharing. */
const LOOKED_UP = 37;

/** What all kernels make of a case on a backend, by name. */
export function runKernels(
  { m, n, k, group, format, bias, residual, from }: KernelCase,
  backend: Backend,
): (readonly [name: string, values: TypedArray])[] {
  const x = valuesOf(from, m * k);
  if (m > 1) x.fill(0, 0, k);
  const ids = Int32Array.from({ length: LOOKED_UP }, (_, i) => (i * 7) % n);
  ids.set([n - 1, 0, n >> 1]);
  return scope(() => {
    using weight = pack(format, valuesOf(from + 1, n * k), n, k, backend);
    const on = (values: TypedArray, shape: number[]) => tensor(values, shape, { backend });
    const { data, scales, sums, ...rows } = quantizeRows(on(x, [m, k]), { groupSize: group });
    const y = linearQuantized({ ...rows, data, scales, sums }, weight, {
      bias: bias ? on(valuesOf(from + 2, n), [n]) : undefined,
      residual: residual ? on(valuesOf(from + 3, m * n), [m, n]) : undefined,
    });
    const gathered = gatherQuantizedRows(weight, on(ids, [ids.length]));
    const all = { data, scales, sums, y, gathered };
    return Object.entries(all).map(([name, one]) => [name, one.toArray()] as const);
  });
}
