// Integer matmuls of quant/, and rows out of a packed matrix, in every variant that this engine runs, on a model's shapes.
import {
  gatherQuantizedRows,
  installQuant,
  kernelVariant,
  linearQuantized,
  packedByteLength,
  packQb4w,
  packQc8w,
  type QuantizedLinear,
  type QuantizedRows,
  quantizeRows,
  type RelaxedDot,
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
import type { Arithmetic } from './peak.ts';
import { benchShapes, type MatmulShape } from './shapes.ts';
import { valuesOf } from './values.ts';

/** Weight formats; activations have one scale a row, or groups of 128 after the `+`. */
const FORMATS = ['qc8w', 'qc8w+128', 'qb4w/32', 'qb4w/64', 'qb4w/128'] as const;

interface Variant {
  /** The part of a case's name that tells. */
  readonly label: string;
  readonly backend: Backend;
  /** Whether `auto` would choose it, or it is the baseline. */
  readonly chosen: boolean;
  /** How it sums products of 8-bit and of 4-bit weights. */
  readonly arithmetic: readonly [qc8w: Arithmetic, qb4w: Arithmetic];
}

/** Backends whose integer kernels differ. */
function* variants(): Generator<Variant> {
  const make = (variant: 'simd128' | 'relaxed', dot?: RelaxedDot) => {
    const backend = wasmBackend({ variant });
    return { backend, dot: installQuant(backend, { variant, dot }).dot };
  };
  const { backend } = make('simd128');
  yield { label: 'simd128', backend, chosen: true, arithmetic: ['i16 dot', 'i16 dot'] };
  if (!hasRelaxedSimd()) return;
  const auto = make('relaxed').dot;
  const sums = {
    i32: ['relaxed i32 dot', 'relaxed i32 dot'],
    i16: ['relaxed i16 dot', 'relaxed i16 dot of nibbles'],
  } as const;
  for (const dot of ['i32', 'i16'] as const) {
    const { backend } = make('relaxed', dot);
    yield { label: `relaxed-${dot}`, backend, chosen: dot === auto, arithmetic: sums[dot] };
  }
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

/** Rows that a batch's words take out of an embedding, as many as there are tokens in it. */
const GATHERED = { count: 128, table: 4096, width: 576 };

function prepareGather(name: string, backend: Backend, format: 'qc8w' | 'qb4w/32'): Prepared {
  const { count, table, width } = GATHERED;
  const values = valuesOf(table * width, 4);
  const w = (
    format === 'qc8w'
      ? packQc8w(values, table, width, { backend })
      : packQb4w(values, table, width, { backend, groupSize: 32 })
  ) as PackedLinear;
  const numbers = Int32Array.from({ length: count }, (_, i) => (7919 * i) % table);
  const ids = keep(tensor(numbers, [count], { backend }));
  const got = scope(() => gatherQuantizedRows(w, ids).toFloat32());
  const gather = format === 'qc8w' ? 'gatherRowsQc8w' : 'gatherRowsQb4w';
  const expected = new Float32Array(count * width);
  scalarKernels[gather](
    ...([expected, w.packed.toArray(), w.scales.toArray()] as const),
    ...([numbers, count, width, w.paddedInner, w.groupSize] as const),
  );
  expected.forEach((value, i) => {
    if (!Object.is(got[i], value))
      throw new Error(`${name}: [${i}] is ${got[i]}, the twin gives ${value}`);
  });
  return {
    run: () => scope(() => backend.read(gatherQuantizedRows(w, ids).handle, 'f32', 1)[0]),
    dispose: () => {
      w.dispose();
      ids.dispose();
    },
  };
}

/** Bytes of a packed matrix beside activations in 8 bits and results in f32. */
function bytesOf(format: (typeof FORMATS)[number], { m, k, n }: MatmulShape): number {
  const [kind, group] = format.split('+')[0].split('/');
  const weights =
    kind === 'qc8w'
      ? packedByteLength('qc8w', n, k, k)
      : packedByteLength('qb4w', n, k, Number(group));
  return weights + m * k + 4 * m * n;
}

/** Every variant, format and shape; quantization of rows counts no operation. */
export function* cases(): Generator<BenchCase> {
  const shapes = benchShapes();
  for (const { label, backend, chosen, arithmetic } of variants()) {
    for (const [m, k] of [
      [1, 576],
      [128, 576],
      [128, 1536],
    ]) {
      const name = `quant/rows/${label}/${m}x${k}`;
      yield {
        name,
        variant: kernelVariant(backend, 'quantizeRowsQd8'),
        ops: 0,
        bytes: 5 * m * k,
        arithmetic: null,
        heavy: !chosen,
        prepare: () => prepareRows(name, backend, m, k),
      };
    }
    for (const format of ['qc8w', 'qb4w/32'] as const) {
      const { count, table, width } = GATHERED;
      const name = `quant/gather/${format}/${label}/${count}of${table}x${width}`;
      yield {
        name,
        variant: kernelVariant(backend, format === 'qc8w' ? 'gatherRowsQc8w' : 'gatherRowsQb4w'),
        ops: 0,
        bytes: count * width * (4 + (format === 'qc8w' ? 1 : 0.5)),
        arithmetic: null,
        heavy: !chosen,
        prepare: () => prepareGather(name, backend, format),
      };
    }
    for (const format of FORMATS) {
      const eight = format.startsWith('qc8w');
      const kernel = eight ? 'gemmQd8F32Qc8w' : 'gemmQd8F32Qb4w';
      for (const shape of shapes) {
        const { m, n, k } = shape;
        const name = `quant/${format}/${label}/${shape.label}/${m}x${k}x${n}`;
        yield {
          name,
          variant: kernelVariant(backend, kernel),
          ops: 2 * m * n * k,
          bytes: bytesOf(format, shape),
          arithmetic: arithmetic[eight ? 0 : 1],
          heavy: shape.heavy || !chosen || n * k > 2 ** 22 || format === 'qb4w/64',
          prepare: () => prepareMatmul(name, backend, format, shape),
        };
      }
    }
  }
}
