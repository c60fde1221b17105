import {
  type CalibrationTables,
  type JobProgress,
  type KeptJob,
  newJobId,
} from '../device/index.ts';
import { MobillmError, UsageError } from '../tensor/errors.ts';
import {
  checkSameJob,
  hasPartialJob,
  type JobIdentity,
  type PartialJob,
  readPartialJob,
  removePartialJob,
  writePartialJob,
} from './partial-job.ts';

/** The flags of a job that can be continued. */
export interface KeepFlags {
  readonly server: string;
  readonly adapterPath: string;
  /** Steps of the server between two checkpoints. */
  readonly saveEvery: number;
  /** Continue the job that was broken off. */
  readonly resume?: boolean;
  /** Drop it and begin anew. */
  readonly restart?: boolean;
}

/**
 * The job that was broken off here, if there is one: neither forgotten nor taken up unasked.
 * @throws UsageError (E_RESUME) where flags and what is there do not go together
 */
export async function brokenOffJob(
  flags: Pick<KeepFlags, 'adapterPath' | 'resume' | 'restart'>,
): Promise<PartialJob | undefined> {
  const { adapterPath, resume, restart } = flags;
  if (resume && restart) throw new UsageError('--resume and --restart exclude each other');
  if (resume) return readPartialJob(adapterPath);
  if (!hasPartialJob(adapterPath)) return undefined;
  if (!restart) {
    throw new UsageError(
      `--adapter-path: a job for ${adapterPath} was broken off; --resume goes on with it, --restart drops it`,
      'E_RESUME',
    );
  }
  // One that cannot be read any more can still be dropped.
  return readPartialJob(adapterPath).catch(() => undefined);
}

/** The error of a job, with what can be done about it where the job is kept. */
export async function withAdvice(error: unknown, adapterPath: string): Promise<unknown> {
  if (!(error instanceof MobillmError) || !hasPartialJob(adapterPath)) return error;
  const { code } = error;
  // Steps are a function of rows and seed: it would run away again.
  if (code === 'E_DIVERGED') await removePartialJob(adapterPath);
  else if (code === 'E_JOB_UNKNOWN' || code === 'E_STATE')
    error.message += '; --restart begins anew';
  else if (code !== 'E_RESUME') error.message += '; --resume goes on where it stopped';
  return error;
}

/** The device's half of a job that can be continued: what it has to know then, on its disk. */
export class JobKeeper {
  readonly keep: KeptJob;
  /** The job that this one takes the place of, for the server to forget. */
  readonly dropped: string | undefined;
  private readonly flags: KeepFlags;
  private readonly identity: JobIdentity;
  private readonly tells: boolean;
  private partial: PartialJob | undefined;
  private writing: Promise<void> = Promise.resolve();

  /** @throws UsageError (E_RESUME) where the job to be continued was another */
  constructor(
    flags: KeepFlags,
    before: PartialJob | undefined,
    identity: JobIdentity,
    tells: boolean,
  ) {
    this.flags = flags;
    this.identity = identity;
    this.tells = tells;
    const { resume, saveEvery } = flags;
    if (resume && before) {
      checkSameJob(before.identity, identity);
      this.keep = { id: before.id, saveEvery, resume: before.calibration };
    } else {
      this.keep = { id: newJobId(), saveEvery };
      this.dropped = before?.id;
    }
  }

  /** Whether the server keeps the job. */
  get kept(): boolean {
    return this.partial !== undefined;
  }

  readonly onAccepted: NonNullable<JobProgress['onAccepted']> = async (
    { resumable, batches, step },
    calibration: CalibrationTables,
  ) => {
    const { adapterPath, server, resume } = this.flags;
    if (!resumable) {
      // What was dropped for this job must not look like it.
      await removePartialJob(adapterPath);
      return;
    }
    if (resume && this.tells) {
      process.stderr.write(`resumed: the server has ${batches} batches and made ${step} steps\n`);
    }
    const { identity } = this;
    const { id } = this.keep;
    this.partial = { id, server, identity, calibration, saved: { batches, step } };
    await writePartialJob(adapterPath, this.partial);
  };

  readonly onSaved: NonNullable<JobProgress['onSaved']> = ({ batches, step }) => {
    if (!this.partial) return;
    const partial = { ...this.partial, saved: { batches, step } };
    this.partial = partial;
    // What the server holds is for it to say; an older note here is no loss.
    this.writing = this.writing
      .then(() => writePartialJob(this.flags.adapterPath, partial))
      .catch(() => {});
  };

  /** The adapter is written: nothing is kept any more. */
  async done(): Promise<void> {
    await this.writing;
    await removePartialJob(this.flags.adapterPath);
  }
}
