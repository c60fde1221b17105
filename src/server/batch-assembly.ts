import { encodedLength } from '../quant/index.ts';
import { ProtocolError } from '../tensor/index.ts';
import type { BatchMessage, JobMessage, TapsMessage } from '../transport/index.ts';
import type { ReceivedBatch } from './training-job.ts';

/** Batches and rows that a job has already. */
export interface Received {
  readonly batches: number;
  readonly rows: Readonly<{ train: number; valid: number }>;
}

/**
 * Puts a job's batches together from their tiles and judges every one against the job. One after
 * another: no more than the tiles of the batch that is due are ever held.
 */
export class BatchAssembly {
  private readonly job: Pick<JobMessage, 'task' | 'taps' | 'codec' | 'rows'>;
  private readonly batchSize: number;
  private readonly received: { train: number; valid: number };
  private due: number;
  /** Layers of the batch that is due, by index, as far as they have come. */
  private readonly layers = new Map<number, Uint8Array[]>();

  constructor(
    job: Pick<JobMessage, 'task' | 'taps' | 'codec' | 'rows'>,
    batchSize: number,
    before: Received,
  ) {
    this.job = job;
    this.batchSize = batchSize;
    this.received = { ...before.rows };
    this.due = before.batches;
  }

  /** Takes a tile of the batch that is due. @throws ProtocolError (E_JOB) for any other */
  takeTile(tile: TapsMessage): void {
    const { taps, codec } = this.job;
    const layer = taps.layers.indexOf(tile.layer);
    const whole = tile.kindStart === 0 && tile.kindCount === taps.kinds.length;
    if (layer < 0 || !whole || tile.width !== taps.width || tile.bits !== codec.bits) {
      throw refused(
        `taps: layer ${tile.layer}, ${tile.kindCount} kinds from ${tile.kindStart}, ${tile.width} values of ${tile.bits} bits are not what the job said`,
      );
    }
    this.checkDue('taps', tile.batch);
    const tiles = this.layers.get(layer) ?? [];
    this.layers.set(layer, tiles);
    const rowBytes = encodedLength(taps.kinds.length, taps.width, codec.bits);
    const before = tiles.reduce((sum, bytes) => sum + bytes.length, 0);
    if (before !== tile.rowStart * rowBytes) {
      throw refused(
        `taps: batch ${tile.batch}, layer ${tile.layer}: tile at row ${tile.rowStart} is out of order`,
      );
    }
    const { task } = this.job;
    const most = this.batchSize * (task.kind === 'lm' ? task.maxTokens : 1);
    if (tile.rowStart + tile.rowCount > most) {
      throw refused(
        `taps: batch ${tile.batch}, layer ${tile.layer}: ${tile.rowStart + tile.rowCount} rows, a batch has ${most}`,
      );
    }
    tiles.push(tile.data);
  }

  /** The batch, all of whose tiles have come. @throws ProtocolError (E_JOB) where it does not fit */
  takeBatch(batch: BatchMessage): ReceivedBatch {
    const { taps, task, codec, rows } = this.job;
    this.checkDue('batch', batch.batch);
    const { counts, labels } = batch;
    const units = counts?.reduce((sum, count) => sum + count, 0) ?? labels.length;
    const bytes = encodedLength(units * taps.kinds.length, taps.width, codec.bits);
    const complete = taps.layers.map((_, index) => joined(this.layers.get(index) ?? []));
    this.layers.clear();
    if (!complete.every((data) => data.length === bytes)) {
      throw refused(`batch ${batch.batch}: its taps are not complete`);
    }
    if ((counts !== undefined) !== (task.kind === 'lm')) {
      throw refused(
        `batch ${batch.batch}: tokens are counted for a language model, and for it alone`,
      );
    }
    // What stays on the device must not come by mistake.
    const due = task.kind === 'lm' && !task.head ? 0 : units;
    if (labels.length !== due) {
      throw refused(`batch ${batch.batch}: ${labels.length} labels where ${due} were due`);
    }
    if (task.kind !== 'regression') {
      const [most, what] =
        task.kind === 'lm' ? [task.vocab, 'token'] : ([task.classes, 'class'] as const);
      const label = labels.find((l) => !Number.isInteger(l) || l < 0 || l >= most);
      if (label !== undefined) {
        throw refused(`batch ${batch.batch}: label ${label} is no ${what} below ${most}`);
      }
    }
    if (task.kind === 'lm') {
      const many = counts?.find((tokens) => tokens > task.maxTokens);
      if (many !== undefined) {
        throw refused(
          `batch ${batch.batch}: a row of ${many} tokens, ${task.maxTokens} are the most`,
        );
      }
    }
    const left = rows[batch.split] - this.received[batch.split];
    const size = Math.min(this.batchSize, left);
    if (batch.rows.length !== size) {
      throw refused(
        `batch ${batch.batch}: ${batch.rows.length} ${batch.split} rows where ${size} were due (batchSize ${this.batchSize}, ${left} rows left)`,
      );
    }
    this.received[batch.split] += batch.rows.length;
    this.due++;
    return {
      ...{ split: batch.split, rows: batch.rows, labels, taps: complete },
      ...(counts && { counts }),
    };
  }

  /** All rows have come. @throws ProtocolError (E_JOB) where some have not */
  checkComplete(announced: { train: number; valid: number }): void {
    const { rows } = this.job;
    for (const split of ['train', 'valid'] as const) {
      if (announced[split] !== rows[split] || this.received[split] !== rows[split]) {
        throw refused(
          `finish: ${this.received[split]} ${split} rows came, the job said ${rows[split]}`,
        );
      }
    }
  }

  private checkDue(what: string, batch: number): void {
    if (batch !== this.due) throw refused(`${what}: of batch ${batch}, ${this.due} is due`);
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const refused = (text: string) => new ProtocolError(text, 'E_JOB');
