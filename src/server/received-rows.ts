import { decodeSample, layersToSamples, sampleBytes } from '../model/index.ts';
import { FormatError } from '../tensor/index.ts';
import { ActivationCache } from './activation-cache.ts';
import type { ReceivedBatch, Split, TrainingJob } from './training-job.ts';

/**
 * What of a row is trained on: the row itself, or of a language model each of its tokens in the loss.
 * Its taps are one record of the cache.
 */
export interface Unit {
  readonly split: Split;
  readonly record: number;
  /** Where labels stay on the device, what names the token: `labelOfToken`. */
  readonly label: number;
}

/** Tokens that a row may send where labels stay on the device: those of the longest contexts there are. */
export const MOST_TOKENS = 2 ** 20;

/** What stands in for the label of a row's token where labels stay on the device; below 2^52. */
const labelOfToken = (row: number, token: number) => row * MOST_TOKENS + token;

/** Which token that is: a row number of the device, and a place among its tokens in the loss. */
export function tokenOfLabel(label: number): { row: number; token: number } {
  return { row: Math.floor(label / MOST_TOKENS), token: label % MOST_TOKENS };
}

/** The units of one row. */
export type Row = readonly Unit[];

/** A job's rows as they came, in the order in which they came, their taps still quantized. */
export class ReceivedRows {
  readonly train: Row[] = [];
  readonly valid: Row[] = [];
  /** Those of `train`, batch by batch. */
  readonly batches: Row[][] = [];
  private readonly job: Pick<TrainingJob, 'shape' | 'codec'>;
  private readonly caches: Record<Split, ActivationCache>;
  private readonly ids: Record<Split, Set<number>> = { train: new Set(), valid: new Set() };

  constructor(job: Pick<TrainingJob, 'shape' | 'codec' | 'cacheLimit' | 'spillDir'>) {
    this.job = job;
    const { spillDir } = job;
    const recordBytes = sampleBytes(job.shape, job.codec.bits);
    const cache = (memoryLimit: number) =>
      new ActivationCache({ recordBytes, memoryLimit, spillDir });
    this.caches = { train: cache(job.cacheLimit * 0.8), valid: cache(job.cacheLimit * 0.2) };
  }

  /** Bytes of cached activations, in memory and in spill files. */
  get cacheBytes(): { memory: number; spilled: number } {
    const { train, valid } = this.caches;
    return {
      memory: train.memoryBytes + valid.memoryBytes,
      spilled: train.spilledBytes + valid.spilledBytes,
    };
  }

  /** Stores a batch. @throws FormatError when its size is not what the job said, or a row comes twice */
  receive({ split, rows: ids, counts, labels, taps }: ReceivedBatch): void {
    const cache = this.caches[split];
    const units = counts?.reduce((sum, count) => sum + count, 0) ?? labels.length;
    const records = layersToSamples(taps, units);
    let at = 0;
    const rows = ids.map((id, b) => {
      if (this.ids[split].has(id)) throw new FormatError(`training: row ${id} came twice`);
      this.ids[split].add(id);
      return Array.from({ length: counts?.[b] ?? 1 }, (_, token): Unit => {
        const record = cache.size;
        cache.put(record, records[at]);
        const label = labels.length > 0 ? labels[at] : labelOfToken(id, token);
        at++;
        return { split, record, label };
      });
    });
    this[split].push(...rows);
    if (split === 'train') this.batches.push(rows);
  }

  /** A unit's taps, decoded and RMS-normed: `[L, K, D]`. */
  sample({ split, record }: Unit): Float32Array {
    return decodeSample(this.caches[split].get(record), this.job.shape, this.job.codec);
  }

  /** The records of units, one behind the other, as they were received. */
  records(units: readonly Unit[]): Uint8Array {
    const size = sampleBytes(this.job.shape, this.job.codec.bits);
    const out = new Uint8Array(units.length * size);
    units.forEach(({ split, record }, i) => {
      out.set(this.caches[split].get(record), i * size);
    });
    return out;
  }

  /** Removes cached activations. */
  close(): void {
    this.caches.train.close();
    this.caches.valid.close();
  }
}
