/** Entry of the server's training thread: owns a backend and the trainer, answers calls of `TrainingThread`. */
import { setImmediate as turn } from 'node:timers/promises';
import { monotonicMs } from '../platform/clock.ts';
import { parentPort } from '../platform/node.ts';
import { serveRpc } from '../platform/rpc.ts';
import { type Backend, cpuBackend, setBackend, wasmBackend } from '../tensor/index.ts';
import {
  type ReceivedBatch,
  SideTrainer,
  type TrainerEvent,
  type TrainingJob,
} from './side-trainer.ts';
import type { ServerBackend, TimedEvent } from './training-thread.ts';

/** The job under way. */
interface Running {
  readonly trainer: SideTrainer;
  /** Ends the wait for rows. */
  wake: (() => void) | undefined;
  cancelled: boolean;
}

let backend: Backend | undefined;
let job: Running | undefined;

function makeBackend(name: ServerBackend): Backend {
  return name === 'cpu' ? cpuBackend() : wasmBackend();
}

function cancel(): void {
  if (!job) return;
  job.cancelled = true;
  job.wake?.();
  job.trainer.close();
  job = undefined;
}

serveRpc(parentPort(), {
  open(name: ServerBackend) {
    backend = makeBackend(name);
    setBackend(backend);
    return backend.description;
  },

  start(options: TrainingJob) {
    if (!backend) throw new Error('training: open comes before start');
    cancel();
    job = { trainer: new SideTrainer(options, backend), wake: undefined, cancelled: false };
  },

  receive(batch: ReceivedBatch) {
    job?.trainer.receive(batch);
    job?.wake?.();
    return job?.trainer.cacheBytes;
  },

  /** Runs to the end, an event at a time; rows that arrive meanwhile are let in between. */
  async run(_: undefined, { emit }) {
    const running = job;
    if (!running) throw new Error('training: start comes before run');
    const { trainer } = running;
    const events = trainer.run();
    for (;;) {
      const startMs = monotonicMs();
      const next: IteratorResult<TrainerEvent, void> = events.next();
      if (next.done) break;
      if (next.value.kind === 'wait') {
        await new Promise<void>((resolve) => {
          running.wake = resolve;
        });
        running.wake = undefined;
      } else {
        emit({ event: next.value, startMs, endMs: monotonicMs() } satisfies TimedEvent);
        await turn();
      }
      if (running.cancelled) break;
    }
    events.return();
    return { cache: trainer.cacheBytes, backendPeakBytes: backend?.memory().peakBytes ?? 0 };
  },

  cancel,

  close: cancel,
});
