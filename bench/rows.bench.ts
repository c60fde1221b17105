// What moves memory more than it computes: norms, softmax, activations, rotary positions, rows of a table,
// the loss and the optimizer.
import {
  adamw,
  concat,
  crossEntropy,
  gatherRows,
  gelu,
  keep,
  layerNorm,
  ones,
  rmsNorm,
  rope,
  siluMul,
  softmax,
  tensor,
} from '../src/tensor/index.ts';
import type { BenchCase } from './harness.ts';
import { onBackends } from './tensor-case.ts';

const EPS = 1e-5;
const ADAMW = {
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0.01,
  step: 3,
};

/** Bytes of `count` f32. */
const bytes = (count: number) => 4 * count;

/** Row `row` of a matrix of width d, as plain numbers. */
const rowOf = (x: ArrayLike<number>, row: number, d: number) =>
  Array.from({ length: d }, (_, i) => x[row * d + i]);

/**
 * The error function by its power series (Abramowitz & Stegun 1964, 7.1.5), to f64's precision for
 * the arguments here, all below 1.
 */
function erf(x: number): number {
  let [term, total] = [x, x];
  for (let n = 1; n < 40; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

function* norms(rows: number, d: number): Generator<BenchCase> {
  const shape = `${rows}x${d}`;
  const heavy = rows * d > 2 ** 20;
  const common = { shape, ops: 0, bytes: bytes(2 * rows * d), heavy } as const;
  yield* onBackends({
    ...common,
    family: 'rms-norm',
    operands: (make) => [make([rows, d], 1), make([d], 2)],
    run: ([x, weight]) => rmsNorm(x, weight, EPS),
    *expected([x, weight]) {
      for (const row of new Set([0, rows - 1])) {
        const values = rowOf(x, row, d);
        const rstd = 1 / Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / d + EPS);
        for (const [i, v] of values.entries()) yield [row * d + i, v * rstd * weight[i]];
      }
    },
  });
  yield* onBackends({
    ...common,
    family: 'layer-norm',
    operands: (make) => [make([rows, d], 1), make([d], 2), make([d], 3)],
    run: ([x, weight, bias]) => layerNorm(x, weight, bias, EPS),
    *expected([x, weight, bias]) {
      for (const row of new Set([0, rows - 1])) {
        const values = rowOf(x, row, d);
        const mean = values.reduce((sum, v) => sum + v, 0) / d;
        const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / d;
        for (const [i, v] of values.entries()) {
          yield [row * d + i, ((v - mean) / Math.sqrt(variance + EPS)) * weight[i] + bias[i]];
        }
      }
    },
  });
  yield* onBackends({
    ...common,
    family: 'softmax',
    operands: (make) => [make([rows, d], 1)],
    run: ([x]) => softmax(x),
    *expected([x]) {
      for (const row of new Set([0, rows - 1])) {
        const powers = rowOf(x, row, d).map(Math.exp);
        const total = powers.reduce((a, b) => a + b);
        for (const [i, power] of powers.entries()) yield [row * d + i, power / total];
      }
    },
  });
}

function* activations(count: number): Generator<BenchCase> {
  yield* onBackends({
    family: 'gelu',
    shape: String(count),
    ops: 0,
    bytes: bytes(2 * count),
    operands: (make) => [make([count], 1)],
    run: ([x]) => gelu(x),
    *expected([x]) {
      for (let i = 0; i < count; i += 97) yield [i, (x[i] / 2) * (1 + erf(x[i] / Math.SQRT2))];
    },
  });
}

function* gatedUnits(count: number): Generator<BenchCase> {
  yield* onBackends({
    family: 'silu-mul',
    shape: String(count),
    ops: 0,
    bytes: bytes(3 * count),
    operands: (make) => [make([count], 1), make([count], 2)],
    run: ([gate, up]) => siluMul(gate, up),
    *expected([gate, up]) {
      for (let i = 0; i < count; i += 97) yield [i, (gate[i] / (1 + Math.exp(-gate[i]))) * up[i]];
    },
  });
}

function* rotaries(tokens: number, heads: number, headDim: number): Generator<BenchCase> {
  const half = headDim / 2;
  yield* onBackends({
    family: 'rope',
    shape: `${tokens}x${heads}x${headDim}`,
    ops: 0,
    bytes: bytes(2 * tokens * heads * headDim),
    operands: (make, backend) => {
      const positions = Int32Array.from({ length: tokens }, (_, t) => tokens - 1 - t);
      return [
        ...[make([tokens, heads, headDim], 1), make([tokens, half], 2), make([tokens, half], 3)],
        keep(tensor(positions, [tokens], { backend })),
      ];
    },
    run: ([x, cos, sin, positions]) => rope(x, cos, sin, positions),
    *expected([x, cos, sin, positions]) {
      for (const t of new Set([0, tokens - 1])) {
        for (let h = 0; h < heads; h++) {
          for (let j = 0; j < half; j++) {
            const [at, angle] = [(t * heads + h) * headDim + j, positions[t] * half + j];
            const [a, b] = [x[at], x[at + half]];
            yield [at, a * cos[angle] - b * sin[angle]];
            yield [at + half, b * cos[angle] + a * sin[angle]];
          }
        }
      }
    },
  });
}

function* gathers(count: number, table: number, d: number): Generator<BenchCase> {
  yield* onBackends({
    family: 'gather-rows',
    shape: `${count}of${table}x${d}`,
    ops: 0,
    bytes: bytes(2 * count * d),
    operands: (make, backend) => {
      const ids = Int32Array.from({ length: count }, (_, i) => (7919 * i) % table);
      return [make([table, d], 1), keep(tensor(ids, [count], { backend }))];
    },
    run: ([rows, ids]) => gatherRows(rows, ids),
    *expected([rows, ids]) {
      for (const i of new Set([0, count - 1])) {
        for (let j = 0; j < d; j++) yield [i * d + j, rows[ids[i] * d + j]];
      }
    },
  });
}

function* losses(rows: number, classes: number): Generator<BenchCase> {
  yield* onBackends({
    family: 'cross-entropy',
    shape: `${rows}x${classes}`,
    ops: 0,
    bytes: bytes(rows * classes),
    heavy: rows * classes > 2 ** 20,
    operands: (make, backend) => [
      make([rows, classes], 1),
      keep(
        tensor(
          Int32Array.from({ length: rows }, (_, i) => (7 * i) % classes),
          [rows],
          { backend },
        ),
      ),
    ],
    run: ([logits, targets]) => crossEntropy(logits, targets, { reduction: 'none' }),
    *expected([logits, targets]) {
      for (let row = 0; row < rows; row++) {
        const values = rowOf(logits, row, classes);
        const total = values.reduce((sum, value) => sum + Math.exp(value), 0);
        yield [row, Math.log(total) - values[targets[row]]];
      }
    },
  });
}

function* optimizers(count: number): Generator<BenchCase> {
  yield* onBackends({
    family: 'adamw',
    shape: String(count),
    // Parameter and two moments read and written, the gradient read.
    ops: 0,
    bytes: bytes(7 * count),
    heavy: count > 2 ** 20,
    operands: (make, backend) => {
      // A second moment is a mean of squares.
      const squares = make([count], 3)
        .toFloat32()
        .map((x) => x * x);
      const v = keep(tensor(squares, [count], { backend }));
      return [make([count], 1), make([count], 2), v, make([count], 4), keep(ones([1], backend))];
    },
    run: ([p, m, v, g, scale]) => adamw(p, m, v, g, scale, ADAMW).p,
    *expected([p, m, v, g]) {
      const { learningRate, beta1, beta2, eps, weightDecay, step } = ADAMW;
      for (let i = 0; i < count; i += 97) {
        const first = (beta1 * m[i] + (1 - beta1) * g[i]) / (1 - beta1 ** step);
        const second = (beta2 * v[i] + (1 - beta2) * g[i] * g[i]) / (1 - beta2 ** step);
        const moved = first / (Math.sqrt(second) + eps);
        yield [i, p[i] - learningRate * (moved + weightDecay * p[i])];
      }
    },
  });
}

function* copies(rows: number, d: number): Generator<BenchCase> {
  yield* onBackends({
    family: 'concat',
    shape: `2x${rows}x${d}`,
    ops: 0,
    bytes: bytes(4 * rows * d),
    operands: (make) => [make([rows, d], 1), make([rows, d], 2)],
    run: ([a, b]) => concat([a, b], 1),
    *expected([a, b]) {
      for (const row of new Set([0, rows - 1])) {
        for (let i = 0; i < d; i++) {
          yield [row * 2 * d + i, a[row * d + i]];
          yield [row * 2 * d + d + i, b[row * d + i]];
        }
      }
    },
  });
}

/** Widths and heights of a model's residual stream, its vocabulary, and a side network's size. */
export function* cases(): Generator<BenchCase> {
  for (const rows of [16, 128, 2048]) yield* norms(rows, 576);
  yield* activations(128 * 1536);
  yield* gatedUnits(128 * 1536);
  for (const tokens of [1, 128]) yield* rotaries(tokens, 9, 64);
  yield* gathers(128, 4096, 576);
  yield* losses(64, 77);
  yield* losses(32, 49_152);
  for (const count of [100_000, 2_000_000]) yield* optimizers(count);
  yield* copies(128, 576);
}
