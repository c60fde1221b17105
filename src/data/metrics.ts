import { UsageError } from '../tensor/errors.ts';

/** A cell of a confusion matrix that is not zero. */
export interface ConfusionCell {
  /** Index of the class that was right. */
  readonly label: number;
  /** Index of the class that was predicted. */
  readonly predicted: number;
  readonly rows: number;
}

/** One class's part of the figures. */
export interface ClassScore {
  /** Rows of the class. */
  readonly rows: number;
  /** Rows predicted to be of it. */
  readonly predicted: number;
  readonly correct: number;
  /** correct / predicted; 0 where none was predicted. */
  readonly precision: number;
  /** correct / rows; 0 where there are none. */
  readonly recall: number;
  /** 2 correct / (rows + predicted), the harmonic mean of both; 0 where the class never occurs. */
  readonly f1: number;
}

/** How well classes were predicted. */
export interface ClassificationScores {
  readonly rows: number;
  readonly correct: number;
  /** correct / rows. */
  readonly accuracy: number;
  /** Mean of `f1` over the classes that occur as a label or as a prediction. */
  readonly macroF1: number;
  /**
   * Matthews correlation of labels and predictions, -1 to 1; 0 where either is one class only
   * (Gorodkin 2004, doi 10.1016/j.compbiolchem.2004.09.006).
   */
  readonly matthews: number;
}

/** How well numbers were predicted. */
export interface RegressionScores {
  readonly rows: number;
  /** Root of the mean squared error, in the labels' unit. */
  readonly rmse: number;
  /** Mean absolute error, in the labels' unit. */
  readonly mae: number;
  /** Pearson's correlation; null where labels or predictions are all equal. */
  readonly pearson: number | null;
  /** Spearman's: Pearson's of the ranks, equal values sharing their mean rank; null likewise. */
  readonly spearman: number | null;
}

function checkLengths(name: string, labels: ArrayLike<number>, predicted: ArrayLike<number>): void {
  if (labels.length === predicted.length && labels.length > 0) return;
  throw new UsageError(
    `${name}: ${labels.length} labels and ${predicted.length} predictions; as many of both, at least one`,
  );
}

/** Rows per class of labels and of predictions, and where both agree. */
function margins(labels: ArrayLike<number>, predicted: ArrayLike<number>, classes: number) {
  const rows = new Array<number>(classes).fill(0);
  const guesses = new Array<number>(classes).fill(0);
  const correct = new Array<number>(classes).fill(0);
  for (let i = 0; i < labels.length; i++) {
    rows[labels[i]]++;
    guesses[predicted[i]]++;
    if (labels[i] === predicted[i]) correct[labels[i]]++;
  }
  return { rows, guesses, correct };
}

/**
 * Precision, recall and F1 of every class.
 * @param labels class indices below `classes`, and `predicted` likewise.
 * @throws UsageError when there are no rows, or not as many of both.
 */
export function classScores(
  labels: ArrayLike<number>,
  predicted: ArrayLike<number>,
  classes: number,
): ClassScore[] {
  checkLengths('metrics', labels, predicted);
  const { rows, guesses, correct } = margins(labels, predicted, classes);
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  return rows.map((count, c) => ({
    rows: count,
    predicted: guesses[c],
    correct: correct[c],
    precision: share(correct[c], guesses[c]),
    recall: share(correct[c], count),
    f1: share(2 * correct[c], count + guesses[c]),
  }));
}

/**
 * Accuracy, macro-F1 and Matthews correlation.
 *
 * With n rows of which c are right, t_k rows of class k and p_k predictions of it, Matthews
 * correlation is (c n - sum t_k p_k) / sqrt((n^2 - sum p_k^2) (n^2 - sum t_k^2)).
 * @param labels class indices below `classes`, and `predicted` likewise.
 * @throws UsageError when there are no rows, or not as many of both.
 */
export function classificationScores(
  labels: ArrayLike<number>,
  predicted: ArrayLike<number>,
  classes: number,
): ClassificationScores {
  const scores = classScores(labels, predicted, classes);
  const n = labels.length;
  let [correct, occurring, f1, both, rowsSquared, predictedSquared] = [0, 0, 0, 0, 0, 0];
  for (const score of scores) {
    correct += score.correct;
    f1 += score.f1;
    if (score.rows + score.predicted > 0) occurring++;
    both += score.rows * score.predicted;
    rowsSquared += score.rows ** 2;
    predictedSquared += score.predicted ** 2;
  }
  const spread = (n * n - predictedSquared) * (n * n - rowsSquared);
  return {
    rows: n,
    correct,
    accuracy: correct / n,
    macroF1: f1 / occurring,
    matthews: spread === 0 ? 0 : (correct * n - both) / Math.sqrt(spread),
  };
}

/**
 * The confusion matrix's cells that are not zero, by label, then by prediction: of thousands of
 * classes the whole matrix would be mostly zeros.
 * @throws UsageError when there are no rows, or not as many of both.
 */
export function confusionCells(
  labels: ArrayLike<number>,
  predicted: ArrayLike<number>,
): ConfusionCell[] {
  checkLengths('metrics', labels, predicted);
  const cells = new Map<number, Map<number, number>>();
  for (let i = 0; i < labels.length; i++) {
    const row = cells.get(labels[i]) ?? new Map<number, number>();
    cells.set(labels[i], row.set(predicted[i], (row.get(predicted[i]) ?? 0) + 1));
  }
  return [...cells]
    .flatMap(([label, row]) => Array.from(row, ([to, rows]) => ({ label, predicted: to, rows })))
    .sort((a, b) => a.label - b.label || a.predicted - b.predicted);
}

/**
 * Pearson's correlation of two lists: covariance over the product of the deviations.
 * @returns null where one of them is constant, which correlates with nothing.
 * @throws UsageError when they are empty, or not of one length.
 */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number | null {
  checkLengths('pearson', a, b);
  const n = a.length;
  const centred = (values: ArrayLike<number>) => {
    let sum = 0;
    let largest = 0;
    for (let i = 0; i < n; i++) {
      sum += values[i];
      largest = Math.max(largest, Math.abs(values[i]));
    }
    const out = Float64Array.from(values, (value) => value - sum / n);
    // What rounding leaves of equal values is no spread.
    const noise = largest * n * Number.EPSILON;
    return { out, constant: out.every((value) => Math.abs(value) <= noise) };
  };
  const [x, y] = [centred(a), centred(b)];
  if (x.constant || y.constant) return null;
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    xy += x.out[i] * y.out[i];
    xx += x.out[i] ** 2;
    yy += y.out[i] ** 2;
  }
  const value = xy / Math.sqrt(xx) / Math.sqrt(yy);
  return Math.min(1, Math.max(-1, value));
}

/** Ranks from 1; equal values share the mean of theirs. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((i, j) => values[i] - values[j]);
  const out = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let at = start; at < end; at++) out[order[at]] = (start + 1 + end) / 2;
    start = end;
  }
  return out;
}

/**
 * Errors and correlations of predicted numbers.
 * @throws UsageError when there are no rows, or not as many of both.
 */
export function regressionScores(
  labels: ArrayLike<number>,
  predicted: ArrayLike<number>,
): RegressionScores {
  checkLengths('metrics', labels, predicted);
  const n = labels.length;
  let [squares, absolute] = [0, 0];
  for (let i = 0; i < n; i++) {
    squares += (predicted[i] - labels[i]) ** 2;
    absolute += Math.abs(predicted[i] - labels[i]);
  }
  return {
    rows: n,
    rmse: Math.sqrt(squares / n),
    mae: absolute / n,
    pearson: pearson(labels, predicted),
    spearman: pearson(ranks(labels), ranks(predicted)),
  };
}
