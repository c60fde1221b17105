/** Entry of the server's training thread: owns a backend and the trainer, answers calls of `TrainingThread`. */
import { setImmediate as turn } from 'node:timers/promises';
import { monotonicMs } from '../platform/clock.ts';
import { parentPort } from '../platform/node.ts';
import { serveRpc } from '../platform/rpc.ts';
import { BackendError, setBackend, wasmBackend } from '../tensor/index.ts';
import { spawnKernelThread } from '../threads/node.ts';
import { DeviceLossEngine, type LossAnswer } from './device-loss.ts';
import { type JobProgress, JobState, type JobStateOptions, NO_PROGRESS } from './job-state.ts';
import { type BackendChoice, type OpenedBackend, openBackend } from './server-backend.ts';
import { SideTrainer } from './side-trainer.ts';
import type { ReceivedBatch, TrainerEvent, TrainingJob } from './training-job.ts';
import type { ThreadBackend, TimedEvent } from './training-thread.ts';

/** The job under way. */
interface Running {
  readonly trainer: SideTrainer;
  /** Where labels stay on the device. */
  readonly remote: DeviceLossEngine | undefined;
  /** What computes, in words. */
  readonly description: string;
  /** Where it is kept, if it is. */
  readonly state: JobState | undefined;
  /** Ends the wait for rows. */
  wake: (() => void) | undefined;
  cancelled: boolean;
  /** The trainer broke; what it holds is not to be saved. */
  failed: boolean;
}

/** An event that is passed on. */
type ToldEvent = Exclude<TrainerEvent, { kind: 'wait' }>;

/** Steps that were made together with this one and come behind it. */
const restOf = (event: ToldEvent) => (event.kind === 'step' ? (event.rest ?? 0) : 0);

type Opened = OpenedBackend & { readonly choice: BackendChoice };

let opened: Opened | undefined;
let job: Running | undefined;

/** Ends the job; one that is kept is saved as it is now. */
function end(): void {
  if (!job) return;
  const { trainer, remote, state, wake, failed } = job;
  job.cancelled = true;
  job = undefined;
  try {
    if (!failed) state?.save();
  } finally {
    state?.close();
    trainer.close();
    void remote?.close();
    wake?.();
  }
}

/** The side network on its own, for a device that computes the loss: on what trains here, or wasm. */
function deviceLoss({ backend, engine, description, choice }: Opened) {
  if (!engine) return new DeviceLossEngine(backend, description);
  const { required, threads } = choice;
  const why = 'plans of gpu.js take the labels, and this device keeps them';
  if (required) throw new BackendError(`--require-backend: ${why}`);
  const wasm = wasmBackend({ threads, spawn: spawnKernelThread });
  return new DeviceLossEngine(wasm, `${wasm.description} instead of ${description}: ${why}`);
}

/** What computes a job, in words. @throws BackendError for what was required and does not */
function describe(job: TrainingJob, { backend, engine, description, choice }: Opened): string {
  if (!engine || job.options.side !== 'kernel') return description;
  const why = 'a head in closed form takes no steps';
  if (choice.required) throw new BackendError(`--require-backend: ${why} on ${description}`);
  return `${backend.description} instead of ${description}: ${why}`;
}

serveRpc(parentPort(), {
  async open(choice: BackendChoice): Promise<ThreadBackend> {
    opened = { ...(await openBackend(choice)), choice };
    setBackend(opened.backend);
    const { description, fallbackReason } = opened;
    return { description, fallbackReason };
  },

  start({ options, kept }: { options: TrainingJob; kept?: JobStateOptions }): JobProgress {
    if (!opened) throw new Error('training: open comes before start');
    end();
    const remote = options.labelsOnDevice ? deviceLoss(opened) : undefined;
    const description = remote?.description ?? describe(options, opened);
    const trainer = new SideTrainer(options, opened.backend, remote ?? opened.engine);
    let state: JobState | undefined;
    try {
      state = kept && new JobState(kept, trainer);
    } catch (error) {
      trainer.close();
      throw error;
    }
    job = { trainer, remote, description, state, wake: undefined, cancelled: false, failed: false };
    return state?.progress ?? NO_PROGRESS;
  },

  async useHead(bytes: Uint8Array): Promise<void> {
    await job?.trainer.useHead(bytes);
    job?.wake?.();
  },

  receive(batch: ReceivedBatch) {
    job?.state?.receive(batch);
    job?.trainer.receive(batch);
    job?.wake?.();
    return job?.trainer.cacheBytes;
  },

  answer: (answer: LossAnswer) => job?.remote?.answer(answer),

  /** Runs to the end, an event at a time; rows that arrive meanwhile are let in between. */
  async run(_: undefined, { emit }) {
    const running = job;
    if (!running) throw new Error('training: start comes before run');
    const { trainer, remote, description, state } = running;
    if (remote) {
      remote.ask = (request, startMs, endMs) =>
        emit({ event: { kind: 'states', ...request }, startMs, endMs } satisfies TimedEvent);
    }
    const events = trainer.run();
    const tell = (event: TimedEvent['event'], startMs: number, endMs = monotonicMs()) =>
      emit({ event, startMs, endMs } satisfies TimedEvent);
    const next = () => {
      try {
        return events.next();
      } catch (error) {
        running.failed = true;
        throw error;
      }
    };
    let startMs = monotonicMs();
    while (!running.cancelled) {
      const first = next();
      if (first.done) break;
      if (first.value.kind === 'wait') {
        const { until } = first.value;
        await (until ??
          new Promise<void>((resolve) => {
            running.wake = resolve;
          }));
        running.wake = undefined;
        // The wait for an engine is its work, that for rows is none.
        if (!until) startMs = monotonicMs();
        continue;
      }
      // The steps of one call come out together: before the last of them nothing can be saved.
      const made = [first.value];
      for (let rest = restOf(first.value); rest > 0; rest--) made.push(next().value as ToldEvent);
      // While the device computes, nothing does here.
      const { forward, back } = remote?.takeMs() ?? { forward: 0, back: monotonicMs() - startMs };
      if (remote) startMs = monotonicMs() - back;
      const share = back / made.length;
      for (const [i, event] of made.entries()) {
        tell(event, startMs + i * share, startMs + (i + 1) * share);
        const savingMs = monotonicMs();
        const saved = state?.onEvent(event, share + forward);
        if (saved) tell({ kind: 'saved', ...saved }, savingMs);
      }
      await turn();
      startMs = monotonicMs();
    }
    events.return();
    const { backend, engine: own } = opened as OpenedBackend;
    const engine = remote ?? own;
    const backendPeakBytes = engine ? await engine.peakBytes() : backend.memory().peakBytes;
    return {
      backend: description,
      cache: trainer.cacheBytes,
      backendPeakBytes,
    };
  },

  cancel: end,

  async close() {
    end();
    await opened?.engine?.close();
  },
});
