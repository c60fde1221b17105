import type {
  BinaryKernel,
  Dims4,
  Kernels,
  UnaryGradKernel,
  UnaryKernel,
} from '../../../backend.ts';
import {
  type DeviceFunction,
  type Floats,
  normalCdf,
  strided,
  type Thread,
  tanhOf,
} from '../device-function.ts';
import type { LaunchFunction, Operand } from '../runtime.ts';
import type { Piece, Value } from '../value.ts';
import { assign } from './assign.ts';

const unary = {
  neg(this: Thread, x: Floats) {
    return -x[this.thread.x];
  },
  abs(this: Thread, x: Floats) {
    return Math.abs(x[this.thread.x]);
  },
  /** A GPU's functions need not know a NaN; comparisons, of which none holds for one, do. */
  exp(this: Thread, x: Floats) {
    const y = Math.exp(x[this.thread.x]);
    if (x[this.thread.x] > 0) return y;
    if (x[this.thread.x] <= 0) return y;
    return x[this.thread.x];
  },
  /** Below 0, and of a NaN, a NaN: what a root gives there on every GPU seen, and a log does not. */
  log(this: Thread, x: Floats) {
    if (x[this.thread.x] >= 0) return Math.log(x[this.thread.x]);
    return Math.sqrt(x[this.thread.x]);
  },
  sqrt(this: Thread, x: Floats) {
    return Math.sqrt(x[this.thread.x]);
  },
  square(this: Thread, x: Floats) {
    return x[this.thread.x] * x[this.thread.x];
  },
  reciprocal(this: Thread, x: Floats) {
    return 1.0 / x[this.thread.x];
  },
  sigmoid(this: Thread, x: Floats) {
    const y = 1.0 / (1.0 + Math.exp(-x[this.thread.x]));
    if (x[this.thread.x] > 0) return y;
    if (x[this.thread.x] <= 0) return y;
    return x[this.thread.x];
  },
  tanh(this: Thread, x: Floats) {
    return tanhOf(x[this.thread.x]);
  },
  /** Not by max, which on a GPU need not pass a NaN on. */
  relu(this: Thread, x: Floats) {
    if (x[this.thread.x] < 0) return 0.0;
    return x[this.thread.x];
  },
  gelu(this: Thread, x: Floats) {
    return x[this.thread.x] * normalCdf(x[this.thread.x]);
  },
  silu(this: Thread, x: Floats) {
    return x[this.thread.x] / (1.0 + Math.exp(-x[this.thread.x]));
  },
};

const unaryGrad = {
  /** 0.3989422804 is 1 / sqrt(2 pi). */
  geluGrad(this: Thread, x: Floats, dy: Floats) {
    const at = x[this.thread.x];
    return dy[this.thread.x] * (normalCdf(at) + at * 0.3989422804 * Math.exp(-0.5 * at * at));
  },
  siluGrad(this: Thread, x: Floats, dy: Floats) {
    const at = x[this.thread.x];
    const s = 1.0 / (1.0 + Math.exp(-at));
    return dy[this.thread.x] * s * (1.0 + at * (1.0 - s));
  },
};

/** Both operands lie in memory as the output does: `spread` sees to it. */
const binary = {
  add(this: Thread, a: Floats, b: Floats) {
    return a[this.thread.x] + b[this.thread.x];
  },
  sub(this: Thread, a: Floats, b: Floats) {
    return a[this.thread.x] - b[this.thread.x];
  },
  mul(this: Thread, a: Floats, b: Floats) {
    return a[this.thread.x] * b[this.thread.x];
  },
  div(this: Thread, a: Floats, b: Floats) {
    return a[this.thread.x] / b[this.thread.x];
  },
  /** The sum is for a NaN on either side, which no comparison holds for. */
  maximum(this: Thread, a: Floats, b: Floats) {
    if (a[this.thread.x] > b[this.thread.x]) return a[this.thread.x];
    if (b[this.thread.x] >= a[this.thread.x]) return b[this.thread.x];
    return a[this.thread.x] + b[this.thread.x];
  },
  greater(this: Thread, a: Floats, b: Floats) {
    if (a[this.thread.x] > b[this.thread.x]) return 1.0;
    return 0.0;
  },
};

type Dims = 'd1' | 'd2' | 'd3';
type Strides = 's0' | 's1' | 's2' | 's3';

/** An operand's elements in the output's order: what broadcasts or is permuted, laid out. */
function spread(this: Thread<Dims | Strides>, x: Floats): number {
  const at = strided(
    this.thread.x,
    this.constants.d1,
    this.constants.d2,
    this.constants.d3,
    this.constants.s0,
    this.constants.s1,
    this.constants.s2,
    this.constants.s3,
  );
  return x[at];
}

function affine(this: Thread, x: Floats, scale: number, shift: number): number {
  return x[this.thread.x] * scale + shift;
}

function siluMul(this: Thread, gate: Floats, up: Floats): number {
  const at = gate[this.thread.x];
  return (at / (1.0 + Math.exp(-at))) * up[this.thread.x];
}

function fill(this: Thread, value: number): number {
  return value;
}

/** Elementwise kernels; formulas stand in backend.ts. */
export function elementwiseKernels(launch: LaunchFunction) {
  const unaryKernel =
    (source: DeviceFunction): UnaryKernel =>
    (out, x, n) =>
      assign(launch, out, launch(source, n, [x]));
  const gradKernel =
    (source: DeviceFunction): UnaryGradKernel =>
    (dx, x, dy, n) =>
      assign(launch, dx, launch(source, n, [x, dy]));
  const binaryKernel =
    (source: DeviceFunction): BinaryKernel =>
    (out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3) => {
      const n = d0 * d1 * d2 * d3;
      const [x, xBorn] = laidOut(launch, a, [d0, d1, d2, d3], [a0, a1, a2, a3]);
      const [y, yBorn] = laidOut(launch, b, [d0, d1, d2, d3], [b0, b1, b2, b3]);
      assign(launch, out, launch(source, n, [x, y]));
      xBorn?.release();
      yBorn?.release();
    };
  const all = <S, K>(sources: S, kernel: (source: DeviceFunction) => K) =>
    Object.fromEntries(
      Object.entries(sources as Record<string, DeviceFunction>).map(([name, source]) => [
        name,
        kernel(source),
      ]),
    ) as Record<keyof S, K>;
  return {
    ...all(unary, unaryKernel),
    ...all(unaryGrad, gradKernel),
    ...all(binary, binaryKernel),
    affine: (out, x, n, scale, shift) =>
      assign(launch, out, launch(affine, n, [x], {}, [scale, shift])),
    siluMul: (out, gate, up, n) => assign(launch, out, launch(siluMul, n, [gate, up])),
    fill: (out, n, value) => assign(launch, out, launch(fill, n, [], {}, [value])),
  } satisfies Partial<Kernels>;
}

/** The operand itself where it lies as the output does, else its elements in that order. */
function laidOut(
  launch: LaunchFunction,
  x: Piece,
  [d0, d1, d2, d3]: Dims4,
  [s0, s1, s2, s3]: Dims4,
): [Operand, Value | undefined] {
  const lies = (length: number, stride: number, due: number) => length === 1 || stride === due;
  const inOrder =
    lies(d3, s3, 1) && lies(d2, s2, d3) && lies(d1, s1, d2 * d3) && lies(d0, s0, d1 * d2 * d3);
  if (inOrder) return [x, undefined];
  const born = launch(spread, d0 * d1 * d2 * d3, [x], { d1, d2, d3, s0, s1, s2, s3 });
  return [born, born];
}
