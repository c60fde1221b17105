import {
  add,
  concat,
  matmul,
  reshape,
  scope,
  type Tensor,
  tensor,
  UsageError,
} from '../../tensor/index.ts';
import { type HeadParams, headLogits, initHead } from './head.ts';
import { kernelRidge } from './ridge.ts';
import type { SideModel, SideShape, Solved } from './side-model.ts';

/** Rows at the most: the time to solve grows with their cube, memory with their square. */
export const MOST_KERNEL_ROWS = 4000;

/** Ridges that are tried, as shares of the kernel's mean diagonal. */
const RIDGES = [0.03, 0.1, 0.3, 1, 3];

/** Factors that make logits of predicted indicators, which lie about 0 and 1. */
const SHARPNESS = [1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56];

/**
 * Kernel ridge regression on the taps of all layers, solved in closed form (Saunders et al. 1998): of
 * n rows with features x = [A_1 .. A_L] and centred indicators Y of their classes
 *
 *     K = X X^T / mean diagonal,   a = (K + r I)^-1 Y,   logits = t (x X^T a + mean Y)
 *
 * Leave-one-out predictions, which cost no further solution, choose r and t: of those within one
 * standard error of the most hits, the rule by which epochs are chosen, the least cross-entropy. The
 * kernel is linear, so the solution is a linear head over all layers and needs no training rows
 * afterwards. Where a number is predicted (one class), Y are the numbers themselves, t is 1 and r
 * that of the least squared error.
 */
export function kernelHead(shape: SideShape): SideModel<HeadParams> {
  const { layers } = shape;
  return {
    name: 'kernel',
    shape,
    init: (_rng, backend) => initHead(shape, backend, layers),
    logits: (params, taps) => headLogits(params, taps, shape),
    rate: () => 1,
    decays: (path) => path === 'weight',
    solve: (taps, labels, chosen) => solveHead(shape, taps, labels, chosen),
  };
}

function solveHead(
  shape: SideShape,
  taps: readonly Tensor[],
  labels: readonly number[],
  before: Solved['chosen'] | undefined,
): Solved<HeadParams> {
  const n = labels.length;
  const { classes, layers, kinds, width } = shape;
  if (n > MOST_KERNEL_ROWS) {
    throw new UsageError(
      `--head kernel: ${n} training rows, it is solved for up to ${MOST_KERNEL_ROWS}; use another head`,
    );
  }
  const { backend } = taps[0];
  const rows = (tap: Tensor) => reshape(tap, [n, kinds * width]);
  const gram = scope(() =>
    taps
      .map((tap) => scope(() => matmul(rows(tap), rows(tap), { transB: true })))
      .reduce((sum, part) => add(sum, part))
      .toFloat32(),
  );
  let trace = 0;
  for (let i = 0; i < n; i++) trace += gram[i * n + i];
  const size = trace / n;
  const kernel = Float64Array.from(gram, (value) => value / size);
  const { targets, means } = centred(labels, classes);
  const tried: Tried[] = [];
  for (const ridge of before ? [before.ridge] : RIDGES) {
    const { dual, leftOut } = kernelRidge(kernel, targets, n, ridge);
    const misses = classes === 1 ? 0 : missesOf(leftOut, means, labels);
    for (const sharpness of before ? [before.sharpness] : classes === 1 ? [1] : SHARPNESS) {
      const loss =
        classes === 1
          ? squaredError(leftOut, targets)
          : crossEntropyOf(leftOut, means, labels, sharpness);
      tried.push({ misses, loss, chosen: { ridge, sharpness }, dual });
    }
  }
  const { loss, chosen, dual } = choose(tried, n);
  const { sharpness } = chosen;
  return { loss, chosen, params: primal() };

  /** The head whose logits these are: W = sqrt(L) t a^T X / size; the root is `headLogits`'. */
  function primal(): HeadParams {
    const factor = (sharpness * Math.sqrt(layers)) / size;
    return scope(() => {
      const weights = tensor(
        Float32Array.from(dual, (a) => factor * a),
        [n, classes],
        { backend },
      );
      return {
        weight: concat(
          taps.map((tap) => matmul(weights, rows(tap), { transA: true })),
          1,
        ),
        bias: tensor(
          Float32Array.from(means, (mean) => sharpness * mean),
          [classes],
          { backend },
        ),
      };
    });
  }
}

/** Indicators of classes, or numbers, `[n, C]`, less their means `[C]`. */
function centred(
  labels: readonly number[],
  classes: number,
): { targets: Float64Array; means: Float64Array } {
  const n = labels.length;
  const means = new Float64Array(classes);
  const targets = new Float64Array(n * classes);
  labels.forEach((label, i) => {
    const [at, value] = classes === 1 ? [i, label] : [i * classes + label, 1];
    targets[at] = value;
    means[at % classes] += value / n;
  });
  return { targets: targets.map((value, i) => value - means[i % classes]), means };
}

/** A solution, and what its leave-one-out predictions say. */
interface Tried {
  readonly misses: number;
  readonly loss: number;
  readonly chosen: Solved['chosen'];
  readonly dual: Float64Array;
}

/** Of those that n rows cannot tell from the one of the fewest misses, that of the least loss. */
function choose(tried: readonly Tried[], n: number): Tried {
  const fewest = Math.min(...tried.map(({ misses }) => misses));
  // Of a share p of n rows: sqrt(p (1 - p) / n) of them.
  const most = fewest + Math.sqrt((fewest * (n - fewest)) / n);
  return tried.filter(({ misses }) => misses <= most).reduce((a, b) => (b.loss < a.loss ? b : a));
}

/** Rows of which another class is the likeliest. */
function missesOf(predicted: Float64Array, means: Float64Array, labels: readonly number[]): number {
  const classes = means.length;
  return labels.filter((label, i) => {
    const likely = (c: number) => predicted[i * classes + c] + means[c];
    return means.some((_, c) => likely(c) > likely(label));
  }).length;
}

function squaredError(predicted: Float64Array, targets: Float64Array): number {
  return predicted.reduce((sum, y, i) => sum + (y - targets[i]) ** 2, 0) / targets.length;
}

/** Mean cross-entropy (nats) of logits t (predicted + mean). */
function crossEntropyOf(
  predicted: Float64Array,
  means: Float64Array,
  labels: readonly number[],
  sharpness: number,
): number {
  const classes = means.length;
  let sum = 0;
  labels.forEach((label, i) => {
    const logits = Array.from(means, (mean, c) => sharpness * (predicted[i * classes + c] + mean));
    const top = Math.max(...logits);
    sum += top + Math.log(logits.reduce((s, x) => s + Math.exp(x - top), 0)) - logits[label];
  });
  return sum / labels.length;
}
