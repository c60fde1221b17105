import * as ops from '../../../src/tensor/index.ts';
import {
  type Backend,
  type Random,
  type Shape,
  type Tensor,
  tensor,
} from '../../../src/tensor/index.ts';

/** Inputs that get gradients, and the function of them. */
export interface Built {
  readonly inputs: readonly Tensor[];
  readonly f: (inputs: readonly Tensor[]) => Tensor;
}

/**
 * Material for a case: four lengths, and values on a grid of 1/1024, so that `x + h u` is exact in
 * f32 for the test's h and u.
 */
export class Maker {
  readonly dims: readonly number[];
  readonly rng: Random;
  readonly backend: Backend;

  constructor(dims: readonly number[], seed: number, backend: Backend) {
    this.dims = dims;
    this.rng = ops.random(seed);
    this.backend = backend;
  }

  private grid(shape: Shape, low: number, high: number): Tensor {
    const draw = () => low + this.rng.int((high - low) * 1024) / 1024;
    const data = Float32Array.from({ length: ops.numelOf(shape) }, draw);
    return tensor(data, shape, { backend: this.backend });
  }

  /** Values in [-2, 2). */
  any(...shape: number[]): Tensor {
    return this.grid(shape, -2, 2);
  }

  /** Values in [1, 3): away from the poles of logarithm, root and quotient. */
  positive(...shape: number[]): Tensor {
    return this.grid(shape, 1, 3);
  }

  /**
   * Values at least 1/4 from one another and 1/8 from zero, over all shapes: no step of the test
   * crosses a kink.
   */
  apart(...shapes: Shape[]): Tensor[] {
    const total = shapes.reduce((n, shape) => n + ops.numelOf(shape), 0);
    const order = this.rng.permutation(total);
    let next = 0;
    return shapes.map((shape) => {
      const draw = () => (order[next++] - (total >> 1) + 0.5) / 4;
      const data = Float32Array.from({ length: ops.numelOf(shape) }, draw);
      return tensor(data, shape, { backend: this.backend });
    });
  }

  ids(count: number, limit: number): Tensor {
    const data = Int32Array.from({ length: count }, () => this.rng.int(limit));
    return tensor(data, [count], { backend: this.backend });
  }

  int(values: readonly number[], shape: Shape): Tensor {
    return tensor(Int32Array.from(values), shape, { backend: this.backend });
  }

  coin(): boolean {
    return this.rng.int(2) === 1;
  }

  pick<T>(...choices: readonly T[]): T {
    return choices[this.rng.int(choices.length)];
  }

  /** A shape of rank 1 to 3. */
  shape(): number[] {
    return this.dims.slice(0, 1 + this.rng.int(3));
  }

  /** Two shapes that broadcast together: axes set to 1 or left off in front. */
  broadcasting(): [number[], number[]] {
    const full = this.shape();
    const thin = () => {
      const shape = full.map((length) => (this.rng.int(3) === 0 ? 1 : length));
      return shape.slice(this.rng.int(3) === 0 ? this.rng.int(shape.length + 1) : 0);
    };
    return this.coin() ? [full, thin()] : [thin(), thin()];
  }
}

export type Case = (make: Maker) => Built;

function unary(op: (x: Tensor) => Tensor, values: 'any' | 'positive' | 'apart' = 'any'): Case {
  return (make) => {
    const shape = make.shape();
    const x = values === 'apart' ? make.apart(shape)[0] : make[values](...shape);
    return { inputs: [x], f: ([a]) => op(a) };
  };
}

function binary(
  op: (a: Tensor, b: Tensor) => Tensor,
  values: 'any' | 'positive' | 'apart' = 'any',
): Case {
  return (make) => {
    const [sa, sb] = make.broadcasting();
    const inputs = values === 'apart' ? make.apart(sa, sb) : [make.any(...sa), make[values](...sb)];
    return { inputs, f: ([a, b]) => op(a, b) };
  };
}

function reduction(
  op: (x: Tensor, axis?: number, options?: { keepDims?: boolean }) => Tensor,
): Case {
  return (make) => {
    const shape = make.shape();
    const [x] = make.apart(shape);
    const axis = make.coin() ? make.rng.int(shape.length) : undefined;
    const keepDims = make.coin();
    return { inputs: [x], f: ([a]) => op(a, axis, { keepDims }) };
  };
}

function crossEntropy(make: Maker): Built {
  const [rows, classes] = make.dims;
  const targets = Array.from({ length: rows }, () =>
    make.rng.int(4) === 0 ? ops.IGNORED_TARGET : make.rng.int(classes),
  );
  const labels = make.int(targets, [rows]);
  const reduction = make.pick('mean', 'sum', 'none');
  const labelSmoothing = make.pick(0, 0.1);
  return {
    inputs: [make.any(rows, classes)],
    f: ([logits]) => ops.crossEntropy(logits, labels, { reduction, labelSmoothing }),
  };
}

function matmul(make: Maker): Built {
  const [m, n, k, batch] = make.dims;
  const [transA, transB] = [make.coin(), make.coin()];
  const lead = (): number[] => make.pick([], [1], [batch]);
  return {
    inputs: [
      make.any(...lead(), ...(transA ? [k, m] : [m, k])),
      make.any(...lead(), ...(transB ? [n, k] : [k, n])),
    ],
    f: ([a, b]) => ops.matmul(a, b, { transA, transB }),
  };
}

function rope(make: Maker): Built {
  const [rows, heads, half] = make.dims;
  const positions = 2 * rows;
  const angles = make.any(positions, half).toFloat32();
  const table = (f: (angle: number) => number) =>
    tensor(angles.map(f), [positions, half], { backend: make.backend });
  const [cos, sin] = [table(Math.cos), table(Math.sin)];
  const at = make.ids(rows, positions);
  return { inputs: [make.any(rows, heads, 2 * half)], f: ([x]) => ops.rope(x, cos, sin, at) };
}

function attention(make: Maker): Built {
  const [rows, kvHeads, group, headDim] = make.dims.map((n) => Math.min(n, 9));
  const heads = kvHeads * Math.min(group, 3);
  const first = make.rng.int(rows + 1);
  const segments = make.int([0, first, first, rows - first], [2, 2]);
  const causal = make.coin();
  return {
    inputs: [
      make.any(rows, heads, headDim),
      make.any(rows, kvHeads, headDim),
      make.any(rows, kvHeads, headDim),
    ],
    f: ([q, k, v]) => ops.attention(q, k, v, { segments, causal }),
  };
}

/** A case for every operation that has a gradient. */
export const CASES: Record<string, Case> = {
  add: binary(ops.add),
  sub: binary(ops.sub),
  mul: binary(ops.mul),
  div: binary(ops.div, 'positive'),
  maximum: binary(ops.maximum, 'apart'),
  neg: unary(ops.neg),
  abs: unary(ops.abs, 'apart'),
  exp: unary(ops.exp),
  log: unary(ops.log, 'positive'),
  sqrt: unary(ops.sqrt, 'positive'),
  square: unary(ops.square),
  reciprocal: unary(ops.reciprocal, 'positive'),
  sigmoid: unary(ops.sigmoid),
  tanh: unary(ops.tanh),
  relu: unary(ops.relu, 'apart'),
  gelu: unary(ops.gelu),
  silu: unary(ops.silu),
  affine: unary((x) => ops.affine(x, -1.5, 0.25)),
  siluMul: (make) => {
    const shape = make.shape();
    return {
      inputs: [make.any(...shape), make.any(...shape)],
      f: ([gate, up]) => ops.siluMul(gate, up),
    };
  },
  lerp: (make) => {
    const shape = make.shape();
    return {
      inputs: [make.any(...shape), make.any(...shape), make.any(1)],
      f: ([a, b, share]) => ops.lerp(a, b, share),
    };
  },
  sum: reduction(ops.sum),
  mean: reduction(ops.mean),
  max: reduction(ops.max),
  sumTo: (make) => {
    const full = make.shape();
    const target = full
      .map((length) => (make.coin() ? 1 : length))
      .slice(make.rng.int(full.length + 1));
    return { inputs: [make.any(...full)], f: ([x]) => ops.sumTo(x, target) };
  },
  matmul,
  concatMatmul: (make) => {
    const [rows, columns] = make.dims;
    const widths = [1 + make.rng.int(5), 1 + make.rng.int(5), 1].slice(make.rng.int(3));
    const w = make.any(
      columns,
      widths.reduce((sum, width) => sum + width),
    );
    return {
      inputs: [w, ...widths.map((width) => make.any(rows, width))],
      f: ([weight, ...xs]) => ops.concatMatmul(xs, weight),
    };
  },
  rmsNorm: (make) => {
    const shape = make.shape();
    const weight = make.coin() ? [make.any(shape[shape.length - 1])] : [];
    // Values away from zero: near it the norm of a row of one is a step.
    return {
      inputs: [make.positive(...shape), ...weight],
      f: ([x, w]) => ops.rmsNorm(x, w ?? null, 0.5),
    };
  },
  layerNorm: (make) => {
    const shape = make.shape();
    const d = shape[shape.length - 1];
    const weighted = make.coin();
    const biased = make.coin();
    return {
      inputs: [
        make.any(...shape),
        ...(weighted ? [make.any(d)] : []),
        ...(biased ? [make.any(d)] : []),
      ],
      // An eps near the values' variance: the curve bends on a scale that the differences resolve.
      f: ([x, ...rest]) =>
        ops.layerNorm(x, weighted ? rest[0] : null, biased ? rest[weighted ? 1 : 0] : null, 1),
    };
  },
  softmax: unary(ops.softmax),
  logSoftmax: unary(ops.logSoftmax),
  crossEntropy,
  gatherRows: (make) => {
    const [rows, d, n] = make.dims;
    const ids = make.ids(n, rows);
    return { inputs: [make.any(rows, d)], f: ([table]) => ops.gatherRows(table, ids) };
  },
  rope,
  attention,
  reshape: (make) => {
    const [a, b, c] = make.dims;
    return { inputs: [make.any(a, b, c)], f: ([x]) => ops.reshape(x, [c, -1]) };
  },
  transpose: (make) => {
    const shape = make.dims.map((n) => Math.min(n, 7)).slice(0, 1 + make.rng.int(4));
    const axes = make.coin() ? [...make.rng.permutation(shape.length)] : undefined;
    return { inputs: [make.any(...shape)], f: ([x]) => ops.transpose(x, axes) };
  },
  slice: (make) => {
    const shape = make.shape();
    const axis = make.rng.int(shape.length);
    const start = make.rng.int(shape[axis]);
    const end = start + 1 + make.rng.int(shape[axis] - start);
    return { inputs: [make.any(...shape)], f: ([x]) => ops.slice(x, axis, start, end) };
  },
  concat: (make) => {
    const shape = make.shape();
    const axis = make.rng.int(shape.length);
    const lengths = [1 + make.rng.int(5), 1 + make.rng.int(5), 1];
    const shapes = lengths.map((n) => shape.map((length, i) => (i === axis ? n : length)));
    return { inputs: shapes.map((s) => make.any(...s)), f: (xs) => ops.concat(xs, axis) };
  },
  stack: (make) => {
    const shape = make.shape();
    const axis = make.rng.int(shape.length + 1);
    return {
      inputs: [make.any(...shape), make.any(...shape), make.any(...shape)],
      f: (xs) => ops.stack(xs, axis),
    };
  },
  broadcastTo: (make) => {
    const full = make.shape();
    const from = full
      .map((length) => (make.coin() ? 1 : length))
      .slice(make.rng.int(full.length + 1));
    return { inputs: [make.any(...from)], f: ([x]) => ops.broadcastTo(x, full) };
  },
};

/** Operations without a gradient, and why. */
export const WITHOUT_GRADIENT: Record<string, string> = {
  argmax: 'an index does not move with its input',
  detach: 'stops gradients: that is its use',
  dequantizeCodes: 'reads what was received, which nothing trains',
  adamw: 'an update, outside of any loss',
  clipScale: 'an update, outside of any loss',
};
