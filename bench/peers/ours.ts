// The project's own kernels as contenders: quantizing rows, product, and both copies are timed.
import {
  installQuant,
  kernelVariant,
  linearQuantized,
  packQb4w,
  packQc8w,
  type QuantizedLinear,
  quantizeRows,
} from '../../src/quant/index.ts';
import {
  type Backend,
  keep,
  matmul,
  scope,
  type Tensor,
  tensor,
  wasmBackend,
} from '../../src/tensor/index.ts';
import type { Engine, Format, Problem } from './problem.ts';

/** Kernel variants that are compared; `relaxed` picks its dot as `auto` does. */
export type OurVariant = 'relaxed' | 'simd128';

const made = new Map<OurVariant, Backend>();

function backendOf(variant: OurVariant): Backend {
  const known = made.get(variant);
  if (known) return known;
  const backend = wasmBackend({ variant });
  installQuant(backend, { variant });
  made.set(variant, backend);
  return backend;
}

const ENGINE = 'mobillm';

/** `[M,K]` numbers through `product`, all of which is freed but what comes out. */
function through(
  { m, k, x }: Problem,
  backend: Backend,
  product: (rows: Tensor) => Tensor,
): () => Float32Array {
  return () => scope(() => product(tensor(x, [m, k], { backend })).toFloat32());
}

function integer(
  problem: Problem,
  format: Format,
  backend: Backend,
  weight: QuantizedLinear,
  label: string,
): Engine {
  const kernel = format === 'int8' ? 'gemmQd8F32Qc8w' : 'gemmQd8F32Qb4w';
  return {
    engine: ENGINE,
    variant: `${kernelVariant(backend, kernel)}${label}`,
    format,
    run: through(problem, backend, (rows) => linearQuantized(quantizeRows(rows), weight)),
    dispose: () => weight.dispose(),
  };
}

/** All of our ways to compute in a format, on one variant. */
export function ourEngines(problem: Problem, format: Format, variant: OurVariant): Engine[] {
  const { k, n, w } = problem;
  const backend = backendOf(variant);
  if (format === 'f32') {
    const weight = keep(tensor(w, [n, k], { backend }));
    return [
      {
        engine: ENGINE,
        variant: `matmul ${backend.description}`,
        format,
        run: through(problem, backend, (rows) => matmul(rows, weight, { transB: true })),
        dispose: () => weight.dispose(),
      },
    ];
  }
  if (format === 'int8') {
    return [integer(problem, format, backend, packQc8w(w, n, k, { backend }), '')];
  }
  return ([32, 128] as const).map((groupSize) =>
    integer(
      problem,
      format,
      backend,
      packQb4w(w, n, k, { backend, groupSize }),
      `, groups of ${groupSize}`,
    ),
  );
}
