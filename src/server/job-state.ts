import { join } from 'node:path';
import { RowLog } from './row-log.ts';
import type { ReceivedBatch, SideTrainer, TrainerEvent } from './side-trainer.ts';

/** Where a job is kept and how often it is saved. */
export interface JobStateOptions {
  readonly folder: string;
  /** Steps between two checkpoints. */
  readonly saveEvery: number;
}

/** How far a job is. */
export interface JobProgress {
  readonly batches: number;
  readonly rows: { readonly train: number; readonly valid: number };
  /** Steps made, of all models. */
  readonly step: number;
  /** Milliseconds computed, by model. */
  readonly busyMs: Readonly<Record<string, number>>;
}

/** How far a job is that has just begun. */
export const NO_PROGRESS: JobProgress = {
  batches: 0,
  rows: { train: 0, valid: 0 },
  step: 0,
  busyMs: {},
};

/** A job's rows on disk. Lives in the training thread. */
export class JobState {
  private readonly log: RowLog;
  private readonly rows = { train: 0, valid: 0 };

  /**
   * Gives the trainer what was kept of the job.
   * @throws FormatError (E_STATE) where that is damaged or cut short
   */
  constructor(options: JobStateOptions, trainer: SideTrainer) {
    this.log = new RowLog(join(options.folder, 'rows'), (batch) => {
      trainer.receive(batch);
      this.rows[batch.split] += batch.rows.length;
    });
  }

  /** How far the job is. */
  get progress(): JobProgress {
    return { batches: this.log.batches, rows: { ...this.rows }, step: 0, busyMs: {} };
  }

  /** Keeps a batch. @throws UsageError (E_DISK_FULL, ...) */
  receive(batch: ReceivedBatch): void {
    this.log.append(batch);
    this.rows[batch.split] += batch.rows.length;
  }

  /** Takes note of what the trainer did. @returns what is saved now, where it is time for that */
  onEvent(_event: TrainerEvent, _ms: number): JobProgress | undefined {
    return undefined;
  }

  /** Saves the job as far as it is. @throws UsageError (E_DISK_FULL, ...) */
  save(): JobProgress {
    this.log.sync();
    return this.progress;
  }

  /** Closes its files; they stay. */
  close(): void {
    this.log.close();
  }
}
