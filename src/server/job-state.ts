import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError } from '../tensor/index.ts';
import { RowLog } from './row-log.ts';
import { readSealed, writeSealed } from './sealed-file.ts';
import type { SideTrainer } from './side-trainer.ts';
import type { TrainerSnapshot } from './trainer-snapshot.ts';
import type { ReceivedBatch, TrainerEvent } from './training-job.ts';

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

/** The file that is written every so many steps. */
interface Checkpoint {
  readonly progress: JobProgress;
  readonly trainer: TrainerSnapshot;
}

/** A job on disk: its rows as they come, its trainer every so many steps. Lives in the training thread. */
export class JobState {
  private readonly trainer: SideTrainer;
  private readonly log: RowLog;
  private readonly path: string;
  private readonly saveEvery: number;
  private readonly rows = { train: 0, valid: 0 };
  private readonly busyMs: Record<string, number> = {};
  private step = 0;
  private savedStep = 0;

  /**
   * Gives the trainer what was kept of the job.
   * @throws FormatError (E_STATE) where that is damaged or cut short
   */
  constructor({ folder, saveEvery }: JobStateOptions, trainer: SideTrainer) {
    this.trainer = trainer;
    this.saveEvery = saveEvery;
    trainer.mostSteps = () => this.savedStep + saveEvery - this.step;
    this.path = join(folder, 'checkpoint');
    // What a process that was killed amid a checkpoint left behind.
    for (const file of readdirSync(folder)) {
      if (/^\.checkpoint\.tmp-/.test(file)) rmSync(join(folder, file), { force: true });
    }
    this.log = new RowLog(join(folder, 'rows'), (batch) => {
      trainer.receive(batch);
      this.rows[batch.split] += batch.rows.length;
    });
    try {
      if (existsSync(this.path)) this.restore(readSealed(this.path, 'checkpoint') as Checkpoint);
    } catch (error) {
      this.log.close();
      throw error;
    }
  }

  /** How far the job is. */
  get progress(): JobProgress {
    const { log, rows, step, busyMs } = this;
    return { batches: log.batches, rows: { ...rows }, step, busyMs: { ...busyMs } };
  }

  /** Keeps a batch. @throws UsageError (E_DISK_FULL, ...) */
  receive(batch: ReceivedBatch): void {
    this.log.append(batch);
    this.rows[batch.split] += batch.rows.length;
  }

  /**
   * Takes note of what the trainer did.
   * @returns what is saved now, where it is time for that
   * @throws UsageError (E_DISK_FULL, ...)
   */
  onEvent(event: Exclude<TrainerEvent, { kind: 'wait' }>, ms: number): JobProgress | undefined {
    const model = event.kind === 'trained' ? event.trained.name : event.model;
    this.busyMs[model] = (this.busyMs[model] ?? 0) + ms;
    if (event.kind === 'step') {
      this.step++;
      if (event.rest) return undefined;
    }
    const due = this.step - this.savedStep >= this.saveEvery;
    // At the end of a model, too: what is trained is trained.
    return due || (event.kind === 'trained' && this.step > this.savedStep)
      ? this.save()
      : undefined;
  }

  /**
   * Saves the job as far as it is.
   * @throws UsageError (E_DISK_FULL, ...); what was saved before stays
   */
  save(): JobProgress {
    const { progress, trainer } = this;
    // First the rows: a checkpoint never knows of more than are there.
    this.log.sync();
    writeSealed(this.path, 'checkpoint', { progress, trainer: trainer.snapshot() });
    this.savedStep = this.step;
    return progress;
  }

  /** Closes its files; they stay. */
  close(): void {
    this.log.close();
  }

  private restore({ progress, trainer }: Checkpoint): void {
    if (this.log.batches < progress.batches) {
      throw new FormatError(
        `read job: ${this.path}: ${progress.batches} batches were saved, ${this.log.batches} are there`,
        'E_STATE',
      );
    }
    this.trainer.restore(trainer);
    this.step = progress.step;
    this.savedStep = progress.step;
    Object.assign(this.busyMs, progress.busyMs);
  }
}
