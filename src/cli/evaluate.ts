import { type ClassificationScores, classificationScores, type Sample } from '../data/index.ts';
import type { TimedBatch } from '../device/index.ts';
import type { DeviceThread } from './device-thread.ts';

/** What an adapter says of labelled rows, and how right it is. */
export interface Measured extends ClassificationScores {
  /** Index of the likeliest class of every row. */
  readonly predicted: readonly number[];
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

/**
 * Accuracy, macro-F1 and Matthews correlation of an adapter on encoded, labelled rows.
 * @param labels class indices below `classes`, in the rows' order.
 */
export async function measureAdapter(
  device: DeviceThread,
  adapterName: string,
  batches: readonly TimedBatch[],
  labels: readonly number[],
  classes: number,
): Promise<Measured> {
  const rows = await classifyRows(device, adapterName, batches);
  const predicted = rows.map(({ label }) => label);
  return { ...classificationScores(labels, predicted, classes), predicted };
}

/** What always guessing the most frequent training class gets. */
export function majorityAccuracy(
  train: readonly number[],
  test: readonly number[],
  classes: number,
): number {
  const counts = new Array<number>(classes).fill(0);
  for (const label of train) counts[label]++;
  const majority = counts.reduce((best, count, c) => (count > counts[best] ? c : best), 0);
  return test.filter((label) => label === majority).length / test.length;
}
