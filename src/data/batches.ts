import { UsageError } from '../tensor/errors.ts';
import { random } from '../tensor/random.ts';

/** How an epoch is cut into batches. */
export interface BatchOptions {
  /** Rows in all. */
  readonly count: number;
  /** Rows of a batch; one batch of the epoch may be smaller. */
  readonly batchSize: number;
  readonly seed: number;
  /** From 0. The order depends on seed and epoch alone, so a job can resume at any epoch. */
  readonly epoch: number;
  /** Length of every row, in any unit: rows of like length then share a batch. */
  readonly lengths?: ArrayLike<number>;
  /** With `lengths`: batches within whose rows lengths are sorted; 8. More is evener, less random. */
  readonly window?: number;
}

/**
 * The rows of an epoch in batches: every row exactly once, in an order fixed by seed and epoch.
 * With `lengths`, rows are sorted by length inside windows of the shuffled order and the window's
 * batches shuffled, so that a batch pads little and the order still is random at large.
 * @returns row indices of every batch.
 * @throws UsageError when `batchSize` or `window` is no whole number above 0, or `lengths` does
 * not have `count` entries.
 */
export function epochBatches(options: BatchOptions): number[][] {
  const { count, batchSize, seed, epoch, lengths, window = 8 } = options;
  for (const [name, value] of [
    ['batch size', batchSize],
    ['window', window],
  ] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw new UsageError(`batches: ${name} is ${value}, it must be a whole number above 0`);
    }
  }
  if (lengths !== undefined && lengths.length !== count) {
    throw new UsageError(`batches: ${lengths.length} lengths for ${count} rows`);
  }
  const rng = random(seed).fork('batches').fork(epoch);
  const order = rng.shuffle(Array.from({ length: count }, (_, i) => i));
  const batches: number[][] = [];
  const step = lengths === undefined ? batchSize : batchSize * window;
  for (let start = 0; start < count; start += step) {
    const rows = order.slice(start, start + step);
    if (lengths === undefined) {
      batches.push(rows);
      continue;
    }
    rows.sort((a, b) => lengths[a] - lengths[b]);
    const cut: number[][] = [];
    for (let i = 0; i < rows.length; i += batchSize) cut.push(rows.slice(i, i + batchSize));
    batches.push(...rng.shuffle(cut));
  }
  return batches;
}
