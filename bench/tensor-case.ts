// Cases of f32 operations: the same on every backend, each held against a reference in f64.
import { hasRelaxedSimd } from '../src/tensor/backends/wasm/features.ts';
import {
  type Backend,
  cpuBackend,
  keep,
  type Shape,
  scope,
  type Tensor,
  type TypedArray,
  tensor,
  wasmBackend,
} from '../src/tensor/index.ts';
import type { BenchCase } from './harness.ts';
import type { Arithmetic } from './peak.ts';
import { valuesOf } from './values.ts';

/**
 * Largest error beside the largest reference value. Sums of a few thousand f32 products come within
 * 1e-6; a kernel that skips or doubles an element is off by 1e-3 and more.
 */
const TOLERANCE = 1e-5;

/** An operation to measure, without its backend. */
export interface TensorCase {
  /** `family[/kind]`. */
  readonly family: string;
  readonly shape: string;
  /** Operations of one run, 0 of what only moves memory; bytes of operands and results. */
  readonly ops: number;
  readonly bytes: number;
  readonly heavy?: boolean;
  /** Operands of fixed values on a backend. */
  operands(make: (shape: Shape, seed: number) => Tensor, backend: Backend): Tensor[];
  run(operands: readonly Tensor[]): Tensor;
  /** What some outputs must be: pairs of index and value, from the operands' numbers. */
  expected(operands: readonly TypedArray[]): Iterable<readonly [index: number, value: number]>;
}

interface Labelled {
  /** The part of a case's name that tells. */
  readonly label: string;
  readonly backend: Backend;
  /** How its products are summed; plain JavaScript has no ceiling that would say anything. */
  readonly arithmetic: Arithmetic | null;
}

let made: Labelled[] | undefined;

/** Every f32 backend that runs here; one instance each. */
function backends(): Labelled[] {
  made ??= [
    { label: 'cpu', backend: cpuBackend(), arithmetic: null },
    {
      label: 'wasm-simd128',
      backend: wasmBackend({ variant: 'simd128' }),
      arithmetic: 'f32 mul, add',
    },
  ];
  if (made.length === 2 && hasRelaxedSimd()) {
    made.push({
      label: 'wasm-relaxed',
      backend: wasmBackend({ variant: 'relaxed' }),
      arithmetic: 'f32 relaxed madd',
    });
  }
  return made;
}

/** Operations above which the reference backend's plain loops take a hundredth of a second. */
const REFERENCE_OPS = 2 ** 23;

function verify(name: string, one: TensorCase, operands: readonly Tensor[]): void {
  const got = scope(() => one.run(operands).toFloat32());
  const expected = [...one.expected(operands.map((operand) => operand.toArray()))];
  const largest = expected.reduce((most, [, value]) => Math.max(most, Math.abs(value)), 0);
  if (!(largest > 0)) throw new Error(`${name}: the reference is zero everywhere`);
  for (const [index, value] of expected) {
    if (!(Math.abs(got[index] - value) <= TOLERANCE * largest)) {
      throw new Error(`${name}: [${index}] is ${got[index]}, the reference gives ${value}`);
    }
  }
}

/** A case on every backend. */
export function* onBackends(one: TensorCase): Generator<BenchCase> {
  for (const { label, backend, arithmetic } of backends()) {
    const name = `${one.family}/${label}/${one.shape}`;
    yield {
      name,
      variant: backend.description,
      ops: one.ops,
      bytes: one.bytes,
      arithmetic: one.ops > 0 ? arithmetic : null,
      heavy: one.heavy || (label === 'cpu' && one.ops > REFERENCE_OPS),
      prepare: () => {
        const make = (shape: Shape, seed: number) => {
          const numel = shape.reduce((product, length) => product * length, 1);
          return keep(tensor(valuesOf(numel, seed), shape, { backend }));
        };
        const operands = one.operands(make, backend);
        try {
          verify(name, one, operands);
        } catch (error) {
          for (const operand of operands) operand.dispose();
          throw error;
        }
        return {
          run: () => scope(() => backend.read(one.run(operands).handle, 'f32', 1)[0]),
          dispose: () => {
            for (const operand of operands) operand.dispose();
          },
        };
      },
    };
  }
}
