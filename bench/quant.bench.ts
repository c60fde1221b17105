// Integer matmuls of quant/ in every variant that this engine runs, on a model's shapes.
import {
  installQuant,
  kernelVariant,
  linearQuantized,
  packQb4w,
  packQc8w,
  type QuantizedLinear,
  type QuantizedRows,
  quantizeRows,
} from '../src/quant/index.ts';
import type { PackedLinear } from '../src/quant/packed-linear.ts';
import { scalarKernels } from '../src/quant/runtime.ts';
import { hasRelaxedSimd } from '../src/tensor/backends/wasm/features.ts';
import {
  type Backend,
  keep,
  scope,
  type Tensor,
  type TypedArray,
  tensor,
  wasmBackend,
} from '../src/tensor/index.ts';
import type { BenchCase, Prepared } from './harness.ts';
import { type MatmulShape, readShapes } from './shapes.ts';
import { valuesOf } from './values.ts';

/** Weight formats; activations have one scale a row, or groups of 128 after the `+`. */
const FORMATS = ['qc8w', 'qc8w+128', 'qb4w/32', 'qb4w/64', 'qb4w/128'] as const;

/** Backends whose integer kernels differ, with the part of a case's name that tells. */
function* variants(): Generator<{ label: string; backend: Backend }> {
  const make = (variant: 'simd128' | 'relaxed', dot?: 'i32' | 'i16') => {
    const backend = wasmBackend({ variant });
    installQuant(backend, { variant, dot });
    return backend;
  };
  yield { label: 'simd128', backend: make('simd128') };
  if (!hasRelaxedSimd()) return;
  yield { label: 'relaxed-i32', backend: make('relaxed', 'i32') };
  yield { label: 'relaxed-i16', backend: make('relaxed', 'i16') };
}

/** Bits of row `row` of the product by the scalar twin. */
function scalarRow(x: QuantizedRows, w: PackedLinear, row: number): Float32Array {
  const part = (one: Tensor): TypedArray => {
    const width = one.shape[1];
    return one.toArray().slice(row * width, (row + 1) * width);
  };
  const out = new Float32Array(w.outFeatures);
  const gemm = w.format === 'qc8w' ? scalarKernels.gemmQd8F32Qc8w : scalarKernels.gemmQd8F32Qb4w;
  gemm(
    out,
    part(x.data),
    part(x.scales),
    part(x.sums),
    w.packed.toArray(),
    w.scales.toArray(),
    w.mins?.toArray() ?? null,
    null,
    null,
    null,
    1,
    w.outFeatures,
    w.paddedInner,
    x.groupSize,
    w.groupSize,
  );
  return out;
}

/** Compares the first, a middle and the last row with the scalar twin, which is slow. */
function verify(name: string, y: Float32Array, x: QuantizedRows, w: PackedLinear): void {
  const n = w.outFeatures;
  for (const row of new Set([0, x.rows >> 1, x.rows - 1])) {
    const expected = scalarRow(x, w, row);
    expected.forEach((value, j) => {
      const got = y[row * n + j];
      if (!Object.is(got, value)) {
        throw new Error(`${name}: [${row},${j}] is ${got}, the scalar twin gives ${value}`);
      }
    });
  }
}

function prepareMatmul(
  name: string,
  backend: Backend,
  format: (typeof FORMATS)[number],
  { m, k, n }: MatmulShape,
): Prepared {
  const [weights, actGroup] = format.split('+');
  const [kind, group] = weights.split('/');
  const values = valuesOf(n * k, 1);
  const w: QuantizedLinear =
    kind === 'qc8w'
      ? packQc8w(values, n, k, { backend })
      : packQb4w(values, n, k, { backend, groupSize: Number(group) as 32 | 64 | 128 });
  const x = scope(() => {
    const rows = tensor(valuesOf(m * k, 2), [m, k], { backend });
    const groupSize = actGroup ? Number(actGroup) : undefined;
    const { data, scales, sums, ...rest } = quantizeRows(rows, { groupSize });
    return { ...rest, data: keep(data), scales: keep(scales), sums: keep(sums) };
  });
  verify(
    name,
    scope(() => linearQuantized(x, w).toFloat32()),
    x,
    w as PackedLinear,
  );
  return {
    run: () => {
      const y = linearQuantized(x, w);
      const checksum = backend.read(y.handle, 'f32', 1)[0];
      y.dispose();
      return checksum;
    },
    dispose: () => {
      w.dispose();
      for (const one of [x.data, x.scales, x.sums]) one.dispose();
    },
  };
}

function prepareRows(name: string, backend: Backend, m: number, k: number): Prepared {
  const values = valuesOf(m * k, 3);
  const x = keep(tensor(values, [m, k], { backend }));
  scope(() => {
    const got = quantizeRows(x).data.toArray();
    const [data, kp] = [new Int8Array(got.length), got.length / m];
    const [scales, sums] = [new Float32Array(m), new Int32Array((m * kp) / 32)];
    scalarKernels.quantizeRowsQd8(data, scales, sums, values, m, k, kp, kp);
    data.forEach((value, i) => {
      if (value !== got[i])
        throw new Error(`${name}: [${i}] is ${got[i]}, the twin gives ${value}`);
    });
  });
  return {
    run: () => scope(() => backend.read(quantizeRows(x).scales.handle, 'f32', 1)[0]),
    dispose: () => x.dispose(),
  };
}

/** Every variant, format and shape; quantization of rows counts one operation an element. */
export function* cases(): Generator<BenchCase> {
  const shapes = [...readShapes('square'), ...readShapes('smollm2-135m')];
  for (const { label, backend } of variants()) {
    for (const [m, k] of [
      [1, 576],
      [128, 576],
      [128, 1536],
    ]) {
      const name = `quant/rows/${label}/${m}x${k}`;
      yield {
        name,
        variant: kernelVariant(backend, 'quantizeRowsQd8'),
        work: m * k,
        unit: 'GOP/s',
        prepare: () => prepareRows(name, backend, m, k),
      };
    }
    for (const format of FORMATS) {
      const kernel = format.startsWith('qc8w') ? 'gemmQd8F32Qc8w' : 'gemmQd8F32Qb4w';
      for (const shape of shapes) {
        const { m, n, k } = shape;
        const name = `quant/${format}/${label}/${shape.name}/${m}x${k}x${n}`;
        yield {
          name,
          variant: kernelVariant(backend, kernel),
          work: 2 * m * n * k,
          unit: 'GOP/s',
          heavy: m > 128 || n * k >= 2 ** 22,
          prepare: () => prepareMatmul(name, backend, format, shape),
        };
      }
    }
  }
}
