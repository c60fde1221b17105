/** What is learnt: which class a label names, the number it is, or (`lm`) the next token of a text. */
export type Task = 'classification' | 'regression' | 'lm';

/** A task whose rows have labels. */
export type LabelTask = Exclude<Task, 'lm'>;

/** Where the numbers to be predicted lie: models learn (number - mean) / deviation. */
export interface Target {
  readonly mean: number;
  /** Standard deviation over the training rows, above 0. */
  readonly deviation: number;
}

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const WHOLE = /^[+-]?\d+$/;

/** The number that a label is; undefined where it is none, or too large for one. */
export function numberOf(label: string): number | undefined {
  const text = label.trim();
  const value = Number(text);
  return NUMBER.test(text) && Number.isFinite(value) ? value : undefined;
}

/**
 * What labels ask for where nobody said: numbers, when each is one, some with a fraction, and more
 * than two differ. Whole numbers are classes, since that is what they are in most data sets.
 */
export function taskOf(labels: Iterable<string>): LabelTask {
  const different = new Set(labels);
  let fractions = 0;
  for (const label of different) {
    if (numberOf(label) === undefined) return 'classification';
    if (!WHOLE.test(label.trim())) fractions++;
  }
  return fractions > 0 && different.size > 2 ? 'regression' : 'classification';
}

/**
 * Mean and standard deviation (of the population) of labels that are numbers.
 * @param labels at least two different numbers.
 */
export function targetOf(labels: readonly string[]): Target {
  const values = labels.map(Number);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / values.length) };
}

/** A label as a model learns it: its number, standardised. */
export function standardized(label: string, { mean, deviation }: Target): number {
  return (Number(label) - mean) / deviation;
}
