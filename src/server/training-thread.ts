import { spawnWorker } from '../platform/node.ts';
import { connectRpc, type RpcClient } from '../platform/rpc.ts';
import type { LossAnswer, LossRequest } from './device-loss.ts';
import type { JobProgress, JobStateOptions } from './job-state.ts';
import type { BackendChoice, OpenedBackend } from './server-backend.ts';
import type { ReceivedBatch, TrainerEvent, TrainingJob } from './training-job.ts';

/** What the trainer did, and when, by `monotonicMs` of its thread. */
export interface TimedEvent {
  readonly event:
    | Exclude<TrainerEvent, { kind: 'wait' }>
    /** So much is on the disk. */
    | ({ readonly kind: 'saved' } & JobProgress)
    /** Where labels stay on the device: what it is to compute. */
    | ({ readonly kind: 'states' } & LossRequest);
  readonly startMs: number;
  readonly endMs: number;
}

/** Bytes of cached activations, in memory and in spill files. */
export interface CacheBytes {
  readonly memory: number;
  readonly spilled: number;
}

/** What the thread opened, without the backend itself, which stays there. */
export type ThreadBackend = Omit<OpenedBackend, 'backend' | 'engine'>;

/** The training of one job in a thread of its own, so that the server's sockets stay live. */
export class TrainingThread {
  /** What really trains, with the reason where that is not what was chosen. */
  readonly backend: string;
  /** Why something better does not run here; null where nothing is missing. */
  readonly fallbackReason: string | null;
  private readonly rpc: RpcClient;

  private constructor(rpc: RpcClient, opened: ThreadBackend) {
    this.rpc = rpc;
    this.backend = opened.description;
    this.fallbackReason = opened.fallbackReason;
  }

  /** Starts the thread on a backend. @throws BackendError when the backend does not come up */
  static async open(choice: BackendChoice): Promise<TrainingThread> {
    const rpc = connectRpc(spawnWorker(new URL('./training-worker.ts', import.meta.url)));
    try {
      return new TrainingThread(rpc, await rpc.call<ThreadBackend>('open', choice));
    } catch (error) {
      await rpc.terminate();
      throw error;
    }
  }

  /**
   * Takes a job on; rows may be received from then on.
   * @param kept where it is kept; a job that is there already is continued
   * @returns how far it is
   * @throws FormatError (E_STATE) where what was kept is damaged
   */
  start(options: TrainingJob, kept?: JobStateOptions): Promise<JobProgress> {
    return this.rpc.call('start', { options, kept });
  }

  /**
   * The frozen head of a language model's job, which waits for it.
   * @throws FormatError (E_LM_HEAD) for one of another model
   */
  useHead(bytes: Uint8Array): Promise<void> {
    return this.rpc.call('useHead', bytes);
  }

  /** Hands a batch over; resolves once it is in the cache, which is when its credit may return. */
  receive(batch: ReceivedBatch): Promise<CacheBytes> {
    return this.rpc.call('receive', batch);
  }

  /**
   * Hands over what the device computed of `states`.
   * @throws ProtocolError (E_JOB) for another part than the one that is due, or of another size
   */
  answer(answer: LossAnswer): Promise<void> {
    return this.rpc.call('answer', answer);
  }

  /** Trains to the end; `backend` is what did. */
  run(
    onEvent: (event: TimedEvent) => void,
  ): Promise<{ backend: string; cache: CacheBytes; backendPeakBytes: number }> {
    return this.rpc.call('run', undefined, { onEvent });
  }

  /**
   * Ends the job: `run` then ends at its next event, and what was received is dropped, after it was
   * saved where the job is kept.
   * @throws UsageError (E_DISK_FULL, ...) when saving fails; what was saved before stays
   */
  cancel(): Promise<void> {
    return this.rpc.call('cancel');
  }

  /** Removes the cache and ends the thread. */
  async close(): Promise<void> {
    await this.rpc.call('close').catch(() => {});
    await this.rpc.terminate();
  }
}
