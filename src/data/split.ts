import { UsageError } from '../tensor/errors.ts';
import { random } from '../tensor/random.ts';

/** Indices of rows, each part in ascending order; together every row once. */
export interface SplitIndices {
  readonly train: number[];
  readonly valid: number[];
}

/** Indices by label, in order of first appearance. */
function byLabel(labels: readonly string[]): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  labels.forEach((label, i) => {
    const group = groups.get(label);
    if (group) group.push(i);
    else groups.set(label, [i]);
  });
  return groups;
}

/**
 * Parts rows for validation so that both parts hold the classes in proportion. Of a class with n
 * rows, round(fraction n) validate, but at least one row and never the last one of training; a
 * class of one row trains.
 * @param labels the class of every row.
 * @param fraction above 0 and below 1.
 * @param seed decides which rows; the same rows and seed always give the same parts.
 * @throws UsageError when `fraction` is out of range.
 */
export function stratifiedSplit(
  labels: readonly string[],
  fraction: number,
  seed: number,
): SplitIndices {
  if (!(fraction > 0 && fraction < 1)) {
    throw new UsageError(`split: fraction is ${fraction}, it must lie between 0 and 1`);
  }
  const rng = random(seed).fork('split');
  const valid = new Set<number>();
  for (const group of byLabel(labels).values()) {
    const count = Math.min(Math.max(Math.round(group.length * fraction), 1), group.length - 1);
    for (const row of rng.shuffle(group).slice(0, count)) valid.add(row);
  }
  const parts: SplitIndices = { train: [], valid: [] };
  labels.forEach((_, row) => {
    (valid.has(row) ? parts.valid : parts.train).push(row);
  });
  return parts;
}
