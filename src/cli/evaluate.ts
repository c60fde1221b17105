import {
  type ClassificationScores,
  classificationScores,
  type RegressionScores,
  regressionScores,
  type Sample,
  standardized,
  type Target,
} from '../data/index.ts';
import type { TimedBatch } from '../device/index.ts';
import { FormatError } from '../tensor/errors.ts';
import type { DeviceThread } from './device-thread.ts';

/** How right an adapter is, by what it predicts. */
export type Scores = ClassificationScores | RegressionScores | LmScores;

/** How well a language model foresees texts, alone and with an adapter. */
export interface LmScores {
  readonly rows: number;
  /** Tokens in the loss, of which perplexities are means. */
  readonly tokens: number;
  /** exp of the mean loss, tuned. */
  readonly perplexity: number;
  /** The frozen model's. */
  readonly basePerplexity: number;
}

/** What scoring rows came to. */
export interface ScoredRows {
  readonly scores: LmScores;
  /** Tokens run through the backbone. */
  readonly computed: number;
  readonly truncated: number;
}

/** Scores rows of a language model batch by batch; `onBatch` hears how many are done. */
export async function scoreRows(
  device: DeviceThread,
  adapterName: string,
  rows: readonly Sample[],
  batchSize: number,
  onBatch?: (done: number) => void,
): Promise<ScoredRows> {
  const sums = { scored: 0, baseLoss: 0, tunedLoss: 0, tokens: 0, truncated: 0 };
  for (let start = 0; start < rows.length; start += batchSize) {
    const part = rows.slice(start, start + batchSize);
    const batch = await device.score(adapterName, part);
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += batch[key];
    onBatch?.(start + part.length);
  }
  const { scored, baseLoss, tunedLoss, tokens, truncated } = sums;
  if (scored === 0) throw new FormatError('data: no row has a token in the loss', 'E_DATA');
  return {
    scores: {
      rows: rows.length,
      tokens: scored,
      perplexity: Math.exp(tunedLoss / scored),
      basePerplexity: Math.exp(baseLoss / scored),
    },
    computed: tokens,
    truncated,
  };
}

/** What an adapter predicts: one of these classes, or without any, a number. */
export interface Outputs {
  readonly labels: readonly string[];
  readonly target?: Target;
}

/** What an adapter says of labelled rows, and how right it is. */
export interface Measured {
  readonly scores: Scores;
  /** Of every row the index of its class, or its number. */
  readonly labels: readonly number[];
  /** What was predicted of every row, likewise. */
  readonly predicted: readonly number[];
}

/** Indices of the rows' classes, or their numbers. */
export function labelValues(rows: readonly Sample[], { labels, target }: Outputs): number[] {
  if (target) return rows.map(({ label }) => Number(label));
  const places = new Map(labels.map((label, index) => [label, index]));
  return rows.map(({ label }) => places.get(label) as number);
}

/** What is sent of the rows' labels: indices of classes, or standardised numbers. */
export function sentLabels(
  rows: readonly Sample[],
  labels: readonly string[],
  target: Target | undefined,
): number[] {
  // The server need not know where the numbers lie.
  if (target) return rows.map(({ label }) => standardized(label, target));
  return labelValues(rows, { labels });
}

/** Encodes rows batch by batch; `onBatch` hears each as it comes. */
export async function encodeRows(
  device: DeviceThread,
  rows: readonly Sample[],
  batchSize: number,
  onBatch?: (batch: TimedBatch, done: number) => void,
): Promise<TimedBatch[]> {
  const batches: TimedBatch[] = [];
  for (let start = 0; start < rows.length; start += batchSize) {
    const part = rows.slice(start, start + batchSize);
    const batch = await device.encode(part);
    batches.push(batch);
    onBatch?.(batch, start + part.length);
  }
  return batches;
}

/** The likeliest class of every encoded row, and how likely it is. */
export async function classifyRows(
  device: DeviceThread,
  adapterName: string,
  batches: readonly TimedBatch[],
): Promise<{ label: number; probability: number }[]> {
  const out: { label: number; probability: number }[] = [];
  for (const batch of batches) {
    for (const row of await device.classify(adapterName, batch)) {
      let label = 0;
      for (let c = 1; c < row.length; c++) if (row[c] > row[label]) label = c;
      out.push({ label, probability: row[label] });
    }
  }
  return out;
}

/** The number that is predicted of every encoded row. */
export async function predictNumbers(
  device: DeviceThread,
  adapterName: string,
  batches: readonly TimedBatch[],
  { mean, deviation }: Target,
): Promise<number[]> {
  const out: number[] = [];
  for (const batch of batches) {
    for (const [value] of await device.classify(adapterName, batch)) {
      out.push(mean + deviation * value);
    }
  }
  return out;
}

/**
 * How right an adapter is on encoded, labelled rows.
 * @param rows as they were encoded; labels among the adapter's, or numbers.
 */
export async function measureAdapter(
  device: DeviceThread,
  adapterName: string,
  batches: readonly TimedBatch[],
  rows: readonly Sample[],
  outputs: Outputs,
): Promise<Measured> {
  const labels = labelValues(rows, outputs);
  if (outputs.target) {
    const predicted = await predictNumbers(device, adapterName, batches, outputs.target);
    return { scores: regressionScores(labels, predicted), labels, predicted };
  }
  const classes = await classifyRows(device, adapterName, batches);
  const predicted = classes.map(({ label }) => label);
  const scores = classificationScores(labels, predicted, outputs.labels.length);
  return { scores, labels, predicted };
}

/**
 * What guessing without looking gets: always the most frequent training class, or always the mean
 * of the training numbers.
 */
export function baselineScores(
  train: readonly Sample[],
  test: readonly Sample[],
  outputs: Outputs,
): Scores {
  const { target, labels } = outputs;
  const values = labelValues(test, outputs);
  if (target)
    return regressionScores(
      values,
      values.map(() => target.mean),
    );
  const majority = majorityClass(labelValues(train, outputs), labels.length);
  return classificationScores(
    values,
    values.map(() => majority),
    labels.length,
  );
}

/** The most frequent class; of equals the first. */
function majorityClass(train: readonly number[], classes: number): number {
  const counts = new Array<number>(classes).fill(0);
  for (const label of train) counts[label]++;
  return counts.reduce((best, count, c) => (count > counts[best] ? c : best), 0);
}

/** What always guessing the most frequent training class gets. */
export function majorityAccuracy(
  train: readonly number[],
  test: readonly number[],
  classes: number,
): number {
  const majority = majorityClass(train, classes);
  return test.filter((label) => label === majority).length / test.length;
}
