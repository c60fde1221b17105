import type { Kernels } from '../../backend.ts';
import { type Divisible, splitOf } from './grain.ts';
import type { Call } from './thread-control.ts';
import type { ThreadPool } from './thread-pool.ts';

const F32 = 4;

/**
 * Nanoseconds that an element takes in one thread, roughly, with operands in the second cache of a
 * Xeon at 2.5 GHz. They decide which calls are worth sharing and how fine they are cut, no number.
 */
const NS = { move: 0.2, norm: 0.5, exponential: 3, product: 0.06 } as const;

/** Nanoseconds of an attention in one thread: pairs of a query and a key, by heads. */
function attentionNs(args: readonly number[], { memory }: ThreadPool): number {
  const [, , , , , , past, segments, segmentCount, heads, , headDim, , causal] = args;
  const words = new Int32Array(memory.buffer, segments, 2 * segmentCount);
  let pairs = 0;
  for (let s = 1; s < words.length; s += 2) {
    pairs += words[s] * (past + words[s] / (causal ? 2 : 1));
  }
  return pairs * heads * (2 * headDim * NS.product + NS.exponential);
}

/** What a call comes to, from its arguments; undefined where it cannot be cut. */
type Cut = (args: readonly number[]) => Divisible | undefined;

/** `addresses` operands of n elements, n being the next argument. */
function elements(addresses: number, unitNs: number): Cut {
  const steps = new Array<number>(addresses).fill(F32);
  return (args) => ({ count: addresses, total: args[addresses], unitNs, multiple: 16, steps });
}

/** Rows: which argument counts them, which are their width, which operands have a row or one element for each. */
function rows(form: {
  count: number;
  width: readonly number[];
  row: readonly number[];
  one?: readonly number[];
  ns: number;
}): Cut {
  const { count, width, row, one = [], ns } = form;
  return (args) => {
    const d = width.reduce((product, i) => product * args[i], 1);
    const steps = args.map((_, i) => (row.includes(i) ? F32 * d : one.includes(i) ? F32 : 0));
    return { count, total: args[count], unitNs: ns * d, steps };
  };
}

/** Strided operands: cut along the outermost axis that is longer than 1. */
function strided(
  firstAxis: number,
  stepsOf: (args: readonly number[], axis: number, unit: number) => readonly number[],
): Cut {
  return (args) => {
    const d = args.slice(firstAxis, firstAxis + 4);
    const axis = d.findIndex((length) => length > 1);
    if (axis < 0) return undefined;
    const unit = d.slice(axis + 1).reduce((product, length) => product * length, 1);
    const steps = stepsOf(args, axis, unit);
    const multiple = unit < 16 ? 16 : 1;
    return { count: firstAxis + axis, total: d[axis], unitNs: NS.move * unit, multiple, steps };
  };
}

/** out[d], a and b with their strides from arguments 7 and 11 on. */
const binary = strided(3, (args, axis, unit) => [
  F32 * unit,
  F32 * args[7 + axis],
  F32 * args[11 + axis],
]);

/** Offsets in elements, strides of out from argument 8 on, of x from 12. */
const copy = strided(4, (args, axis) => [0, args[8 + axis], 0, args[12 + axis]]);

const reduce: Cut = ([, , outer, n, inner]) => ({
  count: 2,
  total: outer,
  unitNs: NS.move * n * inner,
  steps: [F32 * inner, F32 * n * inner],
});

/**
 * Products are cut along the batch, else rows of A by twelves, below which they are computed another
 * way (assembly/matmul.ts); else, of one row, columns.
 */
const matmul: Cut = ([, , , batch, m, n, k, transA, transB, strideA, strideB]) => {
  const unitNs = NS.product * n * k;
  if (batch > 1) {
    const steps = [F32 * m * n, F32 * strideA, F32 * strideB];
    return { count: 3, total: batch, unitNs: unitNs * m, steps };
  }
  if (m > 1 && transA === 0) {
    return { count: 4, total: m, unitNs, multiple: 12, steps: [F32 * n, F32 * k, 0] };
  }
  if (m === 1 && transB === 1) {
    return { count: 5, total: n, unitNs: unitNs / n, multiple: 4, steps: [F32, 0, F32 * k] };
  }
  return undefined;
};

/** Outputs that nobody wants are at 0 in every part, too. */
const lerpGrad: Cut = (args) => {
  const [dA, dB, , , , , , total, d] = args;
  const row = F32 * d;
  const steps = [dA ? row : 0, dB ? row : 0, F32, row, row, 0, row];
  return { count: 7, total, unitNs: NS.norm * d, steps };
};

const simple = elements(2, NS.move);
const exponential = elements(2, NS.exponential);
const softmax = rows({ count: 2, width: [3], row: [0, 1], ns: NS.exponential });
const softmaxGrad = rows({ count: 3, width: [4], row: [0, 1, 2], ns: NS.norm });

/** Kernels that threads share, and how. The others run in the calling thread. */
const CUTS: Partial<Record<keyof Kernels, Cut>> = {
  neg: simple,
  abs: simple,
  sqrt: simple,
  square: simple,
  reciprocal: simple,
  relu: simple,
  affine: simple,
  exp: exponential,
  log: exponential,
  sigmoid: exponential,
  tanh: exponential,
  gelu: exponential,
  silu: exponential,
  geluGrad: elements(3, NS.exponential),
  siluGrad: elements(3, NS.exponential),
  siluMul: elements(3, NS.exponential),
  lerp: (args) => ({
    count: 4,
    total: args[4],
    unitNs: NS.move,
    multiple: 16,
    steps: [F32, F32, F32, 0],
  }),
  lerpGrad,
  add: binary,
  sub: binary,
  mul: binary,
  div: binary,
  maximum: binary,
  greater: binary,
  copy,
  sum: reduce,
  max: reduce,
  argmax: reduce,
  matmul,
  rmsNorm: rows({ count: 4, width: [5], row: [0, 2], one: [1], ns: NS.norm }),
  rmsNormGrad: rows({ count: 5, width: [6], row: [0, 1, 4], one: [2], ns: NS.norm }),
  layerNorm: rows({ count: 6, width: [7], row: [0, 3], one: [1, 2], ns: NS.norm }),
  layerNormGrad: rows({ count: 6, width: [7], row: [0, 1, 5], one: [2, 3], ns: NS.norm }),
  softmax,
  logSoftmax: softmax,
  softmaxGrad,
  logSoftmaxGrad: softmaxGrad,
  crossEntropyGrad: rows({ count: 4, width: [5], row: [0, 1], one: [2, 3], ns: NS.exponential }),
  gatherRows: rows({ count: 3, width: [4], row: [0], one: [2], ns: NS.move }),
  rope: rows({ count: 5, width: [6, 7], row: [0, 1], one: [4], ns: NS.norm }),
  adamw: (args) => ({
    count: 8,
    total: args[8],
    unitNs: NS.exponential,
    multiple: 16,
    steps: [F32, F32, F32, F32, F32, F32, F32],
  }),
};

/** Exports of the module beside the kernels (assembly/attention.ts). */
interface AttentionExports {
  attentionTiles(segments: number, segmentCount: number, heads: number): number;
}

/** The table of kernels with those that are worth it shared by a pool's threads. */
export function shareKernels(
  pool: ThreadPool,
  module: WebAssembly.Module,
  own: Kernels & AttentionExports,
): Kernels {
  const names = Object.keys(CUTS) as (keyof Kernels)[];
  const calls = own as unknown as Record<string, Call>;
  const shared = pool.add({ module, kernels: [...names, 'attentionPart'] }, calls);
  const table = { ...calls };
  for (const name of names) {
    const cut = CUTS[name] as Cut;
    const alone = calls[name];
    table[name] = (...args) => {
      const call = cut(args);
      const split = call && splitOf(call, pool);
      if (split) pool.run(shared[name], args, split);
      else alone(...args);
    };
  }
  table.attention = (...args) => {
    const [, , , , , , , segments, segmentCount, heads] = args;
    const total = own.attentionTiles(segments, segmentCount, heads);
    const unitNs = attentionNs(args, pool) / total;
    const steps = [...args.map(() => 0), 1, 0];
    const split = splitOf({ count: 15, total, unitNs, steps }, pool);
    if (split) pool.run(shared.attentionPart, [...args, 0, 0], split);
    else calls.attention(...args);
  };
  return table as unknown as Kernels;
}
