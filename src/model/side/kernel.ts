import { add, matmul, scope, type Tensor, tensor, UsageError, zeros } from '../../tensor/index.ts';
import { alignmentWeights } from './alignment.ts';
import { DIRECTION_FEATURES, directionFeatures } from './direction-features.ts';
import { kernelRidge } from './ridge.ts';
import type { SideModel, SideShape, Solved } from './side-model.ts';

/** Rows at the most: the time to solve grows with their cube, memory with their square. */
export const MOST_KERNEL_ROWS = 4000;

/** Ridges that are tried; the kernel's diagonal is 1. */
const RIDGES = [0.03, 0.1, 0.3, 1];

/** Factors that make logits of predicted indicators, which lie about 0 and 1. */
const SHARPNESS = [1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56];

/** What the kernel head solves for, and what its kernel is. */
export interface KernelParams {
  /** s `[L, K]`: roots of the taps' weights, which add up to 1. */
  readonly scales: Tensor;
  /** `[C, M]`. */
  readonly weight: Tensor;
  /** `[C]`. */
  readonly bias: Tensor;
}

/**
 * Kernel ridge regression on the taps of all layers, solved in closed form (Saunders et al. 1998): of
 * n rows with features F `[n, M]` (`directionFeatures`) and centred indicators Y of their classes
 *
 *     K = F F^T,   a = (K + r I)^-1 Y,   logits = t (f F^T a + mean Y)
 *
 * so K is the Gaussian kernel exp(-sum_b w_b (1 - cos(x_b, y_b))) over taps b, each of which counts
 * as `alignmentWeights` says. Leave-one-out predictions, which cost no further solution, choose r and
 * t: of those within one standard error of the most hits, the rule by which epochs are chosen, the
 * least cross-entropy. The features are numbers of one row alone, so F^T a is all there is to keep, and
 * no training row is needed afterwards. Where a number is predicted (one class), Y are the numbers
 * themselves, t is 1 and r that of the least squared error.
 */
export function kernelHead(shape: SideShape): SideModel<KernelParams> {
  const { classes, kinds, layers } = shape;
  return {
    name: 'kernel',
    shape,
    init: (_rng, backend) => ({
      scales: zeros([layers, kinds], backend),
      weight: zeros([classes, DIRECTION_FEATURES], backend),
      bias: zeros([classes], backend),
    }),
    logits({ scales, weight, bias }, taps) {
      const features = directionFeatures(taps, scales.toFloat32(), shape);
      return add(matmul(features, weight, { transB: true }), bias);
    },
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
): Solved<KernelParams> {
  const n = labels.length;
  const { classes, kinds, layers } = shape;
  if (n > MOST_KERNEL_ROWS) {
    throw new UsageError(
      `--head kernel: ${n} training rows, it is solved for up to ${MOST_KERNEL_ROWS}; use another head`,
    );
  }
  const { backend } = taps[0];
  const { targets, means } = centred(labels, classes);
  const scales = alignmentWeights(taps, targets, shape).map(Math.sqrt);
  return scope(() => {
    const features = directionFeatures(taps, scales, shape);
    const gram = scope(() => matmul(features, features, { transB: true }).toFloat32());
    const kernel = Float64Array.from(gram);
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
    const weights = tensor(
      Float32Array.from(dual, (a) => sharpness * a),
      [n, classes],
      { backend },
    );
    return {
      loss,
      chosen,
      params: {
        scales: tensor(Float32Array.from(scales), [layers, kinds], { backend }),
        weight: matmul(weights, features, { transA: true }),
        bias: tensor(
          Float32Array.from(means, (mean) => sharpness * mean),
          [classes],
          { backend },
        ),
      },
    };
  });
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
