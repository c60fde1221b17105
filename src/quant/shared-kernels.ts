import { type Divisible, splitOf } from '../tensor/backends/wasm/grain.ts';
import type { ThreadModule } from '../tensor/backends/wasm/kernel-thread.ts';
import type { Call } from '../tensor/backends/wasm/thread-control.ts';
import type { ThreadPool } from '../tensor/backends/wasm/thread-pool.ts';
import { type ActivationBits, encodedLength } from './codec.ts';
import { type QuantKernels, ROW_BLOCK, scratchBytes } from './kernels/table.ts';
import { qb4wScaleLayout } from './qb4w-scales.ts';
import { PANEL } from './types.ts';

/**
 * Nanoseconds, roughly, in one thread of a Xeon at 2.5 GHz with AVX-512: of a product of two numbers in
 * a gemm, of a weight that one row passes once, of an element that is quantized or unpacked, of one that
 * is coded for the wire.
 */
const NS = { product: 0.03, weight: 0.08, element: 0.5, code: 4 } as const;

/**
 * A gemm is cut by blocks of rows, as the kernel does by itself; where there are few of them, by
 * panels of columns, which then are the table's `gemmPart...`: a gemm whose rows of out lie further
 * apart than they are long. Rows and columns come about as in one thread: integer sums are exact, and
 * the f32 operations of an element are in a fixed order.
 */
function gemm(bytesPerWeight: 1 | 0.5): (args: readonly number[]) => Divisible {
  return (args) => {
    const [, , , , , , bias, residual, , m, n, kp, actGroup, weightGroup] = args;
    const actGroups = Math.ceil(kp / actGroup);
    if (byColumns(m)) {
      const scale =
        bytesPerWeight === 1
          ? 4 * Math.ceil(kp / weightGroup)
          : qb4wScaleLayout(kp, weightGroup).bytes / PANEL;
      return {
        count: 10,
        total: n,
        unitNs: Math.max(NS.weight, NS.product * m) * kp,
        multiple: PANEL,
        steps: [4, 0, 0, 0, kp * bytesPerWeight, scale, bias && 4, residual && 4],
      };
    }
    return {
      count: 9,
      total: m,
      unitNs: NS.product * n * kp,
      multiple: ROW_BLOCK,
      steps: [4 * n, kp, 4 * actGroups, kp / 8, 0, 0, 0, residual && 4 * n],
    };
  };
}

/** Below two blocks of rows there would be nothing to share. */
const byColumns = (m: number) => m < 2 * ROW_BLOCK;

function gather(args: readonly number[]): Divisible {
  const [, , , , count, k] = args;
  return { count: 4, total: count, unitNs: NS.element * k, steps: [4 * k, 0, 0, 4] };
}

function quantizeRows(args: readonly number[]): Divisible {
  const [, , , , rows, k, kp, group] = args;
  const steps = [kp, 4 * Math.ceil(kp / group), kp / 8, 4 * k];
  return { count: 4, total: rows, unitNs: NS.element * kp, steps };
}

function encode(args: readonly number[]): Divisible {
  const [, , , , rows, width, kinds, bits] = args;
  const rowBytes = encodedLength(1, width, bits as ActivationBits);
  const steps = [rowBytes, 4 * width];
  return { count: 4, total: rows, unitNs: NS.code * width, multiple: kinds, steps };
}

const CUTS: Record<keyof QuantKernels, (args: readonly number[]) => Divisible> = {
  quantizeRowsQd8: quantizeRows,
  gemmQd8F32Qc8w: gemm(1),
  gemmQd8F32Qb4w: gemm(0.5),
  gatherRowsQc8w: gather,
  gatherRowsQb4w: gather,
  encodeRows: encode,
};

/** Exports of the module for parts of a gemm's columns (assembly/gemm.ts); the last argument is N. */
const GEMM_PARTS: Partial<Record<keyof QuantKernels, string>> = {
  gemmQd8F32Qc8w: 'gemmPartQd8F32Qc8w',
  gemmQd8F32Qb4w: 'gemmPartQd8F32Qb4w',
};

/** Which argument of a gemm is its scratch. */
const GEMM_SCRATCH = 8;

/** The integer kernels, shared by a pool's threads where a call is worth it; equal bits. */
export function shareQuantKernels(
  pool: ThreadPool,
  module: WebAssembly.Module,
  own: QuantKernels,
  setUp: ThreadModule['setUp'],
): QuantKernels {
  const names = Object.keys(CUTS) as (keyof QuantKernels)[];
  const calls = own as unknown as Record<string, Call>;
  const kernels = [...names, ...Object.values(GEMM_PARTS)];
  const shared = pool.add({ module, kernels, setUp }, calls);
  const table: Record<string, Call> = {};
  for (const name of names) {
    const part = GEMM_PARTS[name];
    table[name] = (...args) => {
      const split = splitOf(CUTS[name](args), pool);
      if (!split) return calls[name](...args);
      if (!part) return pool.run(shared[name], args, split);
      const [, , , , , , , , , m, n, kp] = args;
      const bytes = Math.ceil(scratchBytes(m, kp) / 64) * 64;
      const own = { ...split, scratch: { argument: GEMM_SCRATCH, bytes } };
      if (byColumns(m)) pool.run(shared[part], [...args, n], own);
      else pool.run(shared[name], args, own);
    };
  }
  return table as unknown as QuantKernels;
}
