import type { LabelTask } from '../data/index.ts';
import {
  argmax,
  type Backend,
  crossEntropy,
  mean,
  reshape,
  square,
  sub,
  type Tensor,
  tensor,
} from '../tensor/index.ts';

/** What one row says of a model's outputs. */
export interface RowScore {
  readonly loss: number;
  /** Whether the likeliest class is the label; undefined where there are no classes. */
  readonly correct?: boolean;
}

/** The same on a backend: of every row its loss and, of classes, the likeliest one. */
export interface RowValues {
  readonly losses: Tensor;
  readonly predicted?: Tensor;
}

/** What the validation rows say of an epoch. */
export interface EpochScore {
  readonly validLoss: number;
  /** Null where there are no classes. */
  readonly validAccuracy: number | null;
  /** Standard error of the accuracy, or of a regression's loss; 0 of a language model. */
  readonly validError: number;
}

/** What a job's labels mean to its training. */
export interface Objective {
  /** Labels `[B]` as the loss takes them. */
  targets(labels: readonly number[], backend: Backend): Tensor;
  /** Mean loss of outputs `[B, C]`, to be minimised. */
  loss(outputs: Tensor, targets: Tensor, labelSmoothing: number): Tensor;
  /** What is compared of every row, each `[B]`; reads nothing, so that it can be compiled. */
  rowValues(outputs: Tensor, targets: Tensor): RowValues;
  /** The rows' scores in one. */
  scoreEpoch(rows: readonly RowScore[]): EpochScore;
}

/** Loss and, of classes, hit of every row, out of what `rowValues` gave. */
export function rowScores(
  { losses, predicted }: RowValues,
  labels: readonly number[],
): readonly RowScore[] {
  const loss = losses.toArray();
  const guess = predicted?.toArray();
  return labels.map((label, i) => ({
    loss: loss[i],
    ...(guess && { correct: guess[i] === label }),
  }));
}

const average = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Labels are indices of classes; cross-entropy, and accuracy between epochs. */
const classification: Objective = {
  targets: (labels, backend) => tensor(Int32Array.from(labels), [labels.length], { backend }),
  loss: (outputs, targets, labelSmoothing) => crossEntropy(outputs, targets, { labelSmoothing }),
  rowValues: (outputs, targets) => ({
    losses: crossEntropy(outputs, targets, { reduction: 'none' }),
    predicted: argmax(outputs, 1),
  }),
  scoreEpoch(rows) {
    const validAccuracy = average(rows.map(({ correct }) => (correct ? 1 : 0)));
    return {
      validLoss: average(rows.map(({ loss }) => loss)),
      validAccuracy,
      // Of a share p of n rows: sqrt(p (1 - p) / n).
      validError: Math.sqrt((validAccuracy * (1 - validAccuracy)) / rows.length),
    };
  },
};

/** Labels are standardised numbers, outputs `[B, 1]`; squared error, also between epochs. */
const regression: Objective = {
  targets: (labels, backend) => tensor(Float32Array.from(labels), [labels.length], { backend }),
  loss: (outputs, targets) => mean(square(sub(reshape(outputs, targets.shape), targets))),
  rowValues: (outputs, targets) => ({
    losses: square(sub(reshape(outputs, targets.shape), targets)),
  }),
  scoreEpoch(rows) {
    const losses = rows.map(({ loss }) => loss);
    const validLoss = average(losses);
    const variance = average(losses.map((loss) => (loss - validLoss) ** 2));
    return { validLoss, validAccuracy: null, validError: Math.sqrt(variance / rows.length) };
  },
};

/** What each kind of task with labelled rows trains for. */
export const objectives: Readonly<Record<LabelTask, Objective>> = { classification, regression };
