import fc from 'fast-check';
import type { Handle, Kernels } from '../../../src/tensor/backend.ts';
import { EPSILON, EXACT, type KernelCase, kernelCase, type Tolerance } from './case.ts';
import { axis, length, seed, values } from './values.ts';

/** One rounding of a result that cpu rounds once too: half a unit either way. */
const ONE_ROUNDING: Tolerance = { absolute: 0, relative: 2 * EPSILON };

/** Polynomials to about 1e-7, evaluated in f32; subnormal results have fewer bits. */
const APPROXIMATED: Tolerance = { absolute: 2e-38, relative: 5e-7 };

/** As above, times x up to 16: e^(-x^2/2) doubles the rounding of x^2, which is up to 2^7. */
const GAUSSIAN: Tolerance = { absolute: 2e-6, relative: 1e-6 };

/** Where formulas change: zeros, ends of ranges, subnormals, infinities. */
const EDGES = [0, -0, 1, -1, 1e-40, -1e-40, 0.625, -0.625, Infinity, -Infinity, NaN, 3e38, 88.7];

/** The edges at which a formula with x * f(x) has a value. */
const FINITE_EDGES = EDGES.filter(Number.isFinite).filter((x) => Math.abs(x) < 1e30);

type Unary = 'neg' | 'exp' | 'gelu';

function unary(
  name: keyof Kernels,
  range: [low: number, high: number],
  tolerance: Tolerance,
  special: readonly number[] = EDGES,
): KernelCase {
  return kernelCase(
    fc.record({ n: length, from: seed, inPlace: fc.boolean() }),
    ({ n, from, inPlace }) => ({
      inputs: [values(from, n, ...range, special)],
      outputs: [{ numel: n, alias: inPlace ? 0 : undefined }],
      run: (kernels, [out], [x]) => kernels[name as Unary](out, x, n),
      tolerance,
    }),
  );
}

type Pairwise = 'geluGrad' | 'siluGrad' | 'siluMul';

/** Two operands of equal length, the gradients and siluMul. */
function pairwise(name: Pairwise, tolerance: Tolerance): KernelCase {
  return kernelCase(fc.record({ n: length, from: seed }), ({ n, from }) => ({
    inputs: [values(from, n, -9, 9, FINITE_EDGES), values(from + 1, n, -2, 2)],
    outputs: [{ numel: n }],
    run: (kernels, [out], [x, y]) => kernels[name](out, x, y, n),
    tolerance,
  }));
}

type Binary = 'add' | 'sub' | 'mul' | 'div' | 'maximum' | 'greater';
type Four = [number, number, number, number];

/**
 * Strides of an operand: axes in `repeated` (a bit each) have stride 0; the others lie in memory
 * in order, or in reverse.
 */
function layout(dims: Four, repeated: number, reversed: boolean): { strides: Four; numel: number } {
  const strides: Four = [0, 0, 0, 0];
  let numel = 1;
  for (const i of reversed ? [0, 1, 2, 3] : [3, 2, 1, 0]) {
    if ((repeated >> i) & 1) continue;
    strides[i] = numel;
    numel *= dims[i];
  }
  return { strides, numel };
}

function binary(name: Binary): KernelCase {
  return kernelCase(
    fc.record({
      dims: fc.tuple(axis, axis, axis, fc.oneof(axis, length)),
      repeated: fc.tuple(fc.nat(15), fc.nat(15)),
      reversed: fc.tuple(fc.boolean(), fc.boolean()),
      plain: fc.boolean(),
      from: seed,
    }),
    ({ dims: given, repeated, reversed, plain, from }) => {
      // Keep the whole below a few thousand elements.
      const dims: Four = given[3] > 20 ? [1, 1, given[1], given[3]] : given;
      const a = layout(dims, plain ? 0 : repeated[0], reversed[0] && !plain);
      const b = layout(dims, plain ? 0 : repeated[1], reversed[1] && !plain);
      return {
        inputs: [values(from, a.numel, -3, 3, EDGES), values(from + 1, b.numel, -3, 3, EDGES)],
        outputs: [{ numel: dims[0] * dims[1] * dims[2] * dims[3] }],
        run: (kernels, [out], [x, y]) =>
          kernels[name](out, x, y, ...dims, ...a.strides, ...b.strides),
        tolerance: EXACT,
      };
    },
  );
}

const lerp = kernelCase(fc.record({ n: length, from: seed }), ({ n, from }) => ({
  inputs: [values(from, n, -3, 3), values(from + 1, n, -3, 3), values(from + 2, 1, -2, 2)],
  outputs: [{ numel: n }],
  run: (kernels, [out], [a, b, share]) => kernels.lerp(out, a, b, share, n),
  // Two roundings of numbers up to 12, and one of the sum.
  tolerance: { absolute: 3 * 12 * 2 * EPSILON, relative: 2 * EPSILON },
}));

const lerpGrad = kernelCase(
  fc.record({
    rows: fc.constantFrom(0, 1, 2, 3, 5),
    d: length.filter((d) => d > 0),
    from: seed,
    wanted: fc.tuple(fc.boolean(), fc.boolean()),
  }),
  ({ rows, d, from, wanted: [wantsA, wantsB] }) => {
    const n = rows * d;
    const [a, b, dy] = [0, 1, 2].map((i) => values(from + i, n));
    const outputs = [{ numel: rows }, ...(wantsA ? [{ numel: n }] : [])];
    return {
      inputs: [a, b, values(from + 3, 1, -2, 2), dy],
      outputs: [...outputs, ...(wantsB ? [{ numel: n }] : [])],
      run: (kernels, [perRow, ...grads], [x, y, share, above], nil) => {
        const dA = wantsA ? grads[0] : nil;
        const dB = wantsB ? grads[wantsA ? 1 : 0] : nil;
        kernels.lerpGrad(dA, dB, perRow, x, y, share, above, rows, d);
      },
      // Up to 1025 terms of at most 2, in eight lanes.
      tolerance: { absolute: 2e-5, relative: 4 * EPSILON },
    };
  },
);

export const elementwiseCases = {
  neg: unary('neg', [-3, 3], EXACT),
  abs: unary('abs', [-3, 3], EXACT),
  exp: unary('exp', [-105, 89], APPROXIMATED),
  log: unary('log', [0, 9], { absolute: 1e-7, relative: 5e-7 }),
  sqrt: unary('sqrt', [0, 9], EXACT),
  square: unary('square', [-3, 3], EXACT),
  reciprocal: unary('reciprocal', [-3, 3], EXACT),
  sigmoid: unary('sigmoid', [-30, 30], APPROXIMATED),
  tanh: unary('tanh', [-4, 4], APPROXIMATED),
  relu: unary('relu', [-3, 3], EXACT),
  gelu: unary('gelu', [-9, 9], GAUSSIAN, FINITE_EDGES),
  silu: unary('silu', [-30, 30], APPROXIMATED, FINITE_EDGES),
  geluGrad: pairwise('geluGrad', GAUSSIAN),
  siluGrad: pairwise('siluGrad', { absolute: 1e-6, relative: 1e-6 }),
  siluMul: pairwise('siluMul', APPROXIMATED),
  lerp,
  lerpGrad,
  add: binary('add'),
  sub: binary('sub'),
  mul: binary('mul'),
  div: binary('div'),
  maximum: binary('maximum'),
  greater: binary('greater'),
  affine: kernelCase(
    fc.record({ n: length, from: seed, inPlace: fc.boolean() }),
    ({ n, from, inPlace }) => {
      const [scale, shift] = values(from + 1, 2, -2, 2);
      return {
        inputs: [values(from, n, -3, 3)],
        outputs: [{ numel: n, alias: inPlace ? 0 : undefined }],
        run: (kernels, [out], [x]) => kernels.affine(out, x, n, scale, shift),
        // Product and sum may each round; the product is at most 6.
        tolerance: { absolute: 6 * EPSILON, relative: ONE_ROUNDING.relative },
      };
    },
  ),
  fill: kernelCase(fc.record({ n: length, from: seed }), ({ n, from }) => ({
    inputs: [],
    outputs: [{ numel: n }],
    run: (kernels, [out]: readonly Handle[]) => kernels.fill(out, n, values(from, 1)[0]),
    tolerance: EXACT,
  })),
} satisfies Partial<Record<keyof Kernels, KernelCase>>;
