import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { EPSILON, EXACT, type KernelCase, kernelCase } from './case.ts';
import { axis, indices, length, seed, side, values } from './values.ts';

type Four = [number, number, number, number];

const orders: Four[] = [
  [0, 1, 2, 3],
  [0, 2, 1, 3],
  [0, 1, 3, 2],
  [3, 2, 1, 0],
  [1, 0, 3, 2],
  [2, 3, 0, 1],
];

/** Strides of axes that lie in memory in `order` (outermost first), each `pad` longer than read. */
function strides(dims: Four, order: Four, pad: number): { strides: Four; numel: number } {
  const out: Four = [0, 0, 0, 0];
  let numel = 1;
  for (const i of [...order].reverse()) {
    out[i] = numel;
    numel *= dims[i] + pad;
  }
  return { strides: out, numel };
}

const copy = kernelCase(
  fc.record({
    dims: fc.tuple(axis, axis, axis, axis),
    xOrder: fc.constantFrom(...orders),
    outOrder: fc.constantFrom(...orders),
    pads: fc.tuple(fc.constantFrom(0, 0, 1), fc.constantFrom(0, 0, 1)),
    offsets: fc.tuple(fc.constantFrom(0, 1, 4), fc.constantFrom(0, 3, 8)),
    repeated: fc.oneof(fc.constant(0), fc.nat(15)),
    from: seed,
  }),
  ({ dims, xOrder, outOrder, pads, offsets, repeated, from }) => {
    const x = strides(dims, xOrder, pads[0]);
    const out = strides(dims, outOrder, pads[1]);
    const xStrides = x.strides.map((stride, i) => ((repeated >> i) & 1 ? 0 : stride)) as Four;
    return {
      inputs: [values(from, x.numel + offsets[1])],
      outputs: [{ numel: out.numel + offsets[0] }],
      run: (kernels, [to], [of]) =>
        kernels.copy(to, offsets[0], of, offsets[1], ...dims, ...out.strides, ...xStrides),
      tolerance: EXACT,
    };
  },
);

const rows = fc.constantFrom(0, 1, 2, 3, 5, 8);

const gatherRows = kernelCase(
  fc.record({ n: rows, table: side, d: length, from: seed }),
  ({ n, table, d, from }) => ({
    inputs: [values(from, table * d), indices(from + 1, n, table)],
    outputs: [{ numel: n * d }],
    run: (kernels, [out], [x, ids]) => kernels.gatherRows(out, x, ids, n, d),
    tolerance: EXACT,
  }),
);

const scatterAddRows = kernelCase(
  fc.record({ n: rows, table: side, d: length, from: seed }),
  ({ n, table, d, from }) => ({
    inputs: [values(from, n * d), indices(from + 1, n, table)],
    outputs: [{ numel: table * d, initial: values(from + 2, table * d) }],
    run: (kernels, [out], [dy, ids]) => kernels.scatterAddRows(out, dy, ids, n, d),
    // cpu, too, rounds every addition to f32.
    tolerance: EXACT,
  }),
);

const rope = kernelCase(
  fc.record({ rows, heads: axis, half: side, positions: side, undo: fc.boolean(), from: seed }),
  ({ rows, heads, half, positions, undo, from }) => {
    const angles = values(from + 1, positions * half, -4, 4);
    return {
      inputs: [
        values(from, rows * heads * half * 2),
        angles.map(Math.cos),
        angles.map(Math.sin),
        indices(from + 2, rows, positions),
      ],
      outputs: [{ numel: rows * heads * half * 2 }],
      run: (kernels, [out], [x, cos, sin, at]) =>
        kernels.rope(out, x, cos, sin, at, rows, heads, half * 2, undo ? -1 : 1),
      // Two products of at most 1, each rounded, and their sum.
      tolerance: { absolute: 4 * EPSILON, relative: 0 },
    };
  },
);

export const layoutCases = { copy, gatherRows, scatterAddRows, rope } satisfies Partial<
  Record<keyof Kernels, KernelCase>
>;
