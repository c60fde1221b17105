/** Entry of the server's training thread: owns a backend and the trainer, answers calls of `TrainingThread`. */
import { setImmediate as turn } from 'node:timers/promises';
import { monotonicMs } from '../platform/clock.ts';
import { parentPort } from '../platform/node.ts';
import { serveRpc } from '../platform/rpc.ts';
import { type Backend, setBackend } from '../tensor/index.ts';
import { type JobProgress, JobState, type JobStateOptions, NO_PROGRESS } from './job-state.ts';
import { type BackendChoice, openBackend } from './server-backend.ts';
import { SideTrainer } from './side-trainer.ts';
import type { ReceivedBatch, TrainerEvent, TrainingJob } from './training-job.ts';
import type { ThreadBackend, TimedEvent } from './training-thread.ts';

/** The job under way. */
interface Running {
  readonly trainer: SideTrainer;
  /** Where it is kept, if it is. */
  readonly state: JobState | undefined;
  /** Ends the wait for rows. */
  wake: (() => void) | undefined;
  cancelled: boolean;
  /** The trainer broke; what it holds is not to be saved. */
  failed: boolean;
}

let backend: Backend | undefined;
let job: Running | undefined;

/** Ends the job; one that is kept is saved as it is now. */
function end(): void {
  if (!job) return;
  const { trainer, state, wake, failed } = job;
  job.cancelled = true;
  job = undefined;
  try {
    if (!failed) state?.save();
  } finally {
    state?.close();
    trainer.close();
    wake?.();
  }
}

serveRpc(parentPort(), {
  async open(choice: BackendChoice): Promise<ThreadBackend> {
    const { description, fallbackReason, ...opened } = await openBackend(choice);
    backend = opened.backend;
    setBackend(backend);
    return { description, fallbackReason };
  },

  start({ options, kept }: { options: TrainingJob; kept?: JobStateOptions }): JobProgress {
    if (!backend) throw new Error('training: open comes before start');
    end();
    const trainer = new SideTrainer(options, backend);
    let state: JobState | undefined;
    try {
      state = kept && new JobState(kept, trainer);
    } catch (error) {
      trainer.close();
      throw error;
    }
    job = { trainer, state, wake: undefined, cancelled: false, failed: false };
    return state?.progress ?? NO_PROGRESS;
  },

  useHead(bytes: Uint8Array): void {
    job?.trainer.useHead(bytes);
    job?.wake?.();
  },

  receive(batch: ReceivedBatch) {
    job?.state?.receive(batch);
    job?.trainer.receive(batch);
    job?.wake?.();
    return job?.trainer.cacheBytes;
  },

  /** Runs to the end, an event at a time; rows that arrive meanwhile are let in between. */
  async run(_: undefined, { emit }) {
    const running = job;
    if (!running) throw new Error('training: start comes before run');
    const { trainer, state } = running;
    const events = trainer.run();
    const tell = (event: TimedEvent['event'], startMs: number) =>
      emit({ event, startMs, endMs: monotonicMs() } satisfies TimedEvent);
    for (;;) {
      const startMs = monotonicMs();
      let next: IteratorResult<TrainerEvent, void>;
      try {
        next = events.next();
      } catch (error) {
        running.failed = true;
        throw error;
      }
      if (next.done) break;
      if (next.value.kind === 'wait') {
        await new Promise<void>((resolve) => {
          running.wake = resolve;
        });
        running.wake = undefined;
      } else {
        tell(next.value, startMs);
        const savingMs = monotonicMs();
        const saved = state?.onEvent(next.value, savingMs - startMs);
        if (saved) tell({ kind: 'saved', ...saved }, savingMs);
        await turn();
      }
      if (running.cancelled) break;
    }
    events.return();
    return { cache: trainer.cacheBytes, backendPeakBytes: backend?.memory().peakBytes ?? 0 };
  },

  cancel: end,

  close: end,
});
