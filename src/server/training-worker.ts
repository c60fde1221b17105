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

let trainer: SideTrainer | undefined;
let wake: (() => void) | undefined;
let cancelled = false;

function makeBackend(name: ServerBackend): Backend {
  return name === 'cpu' ? cpuBackend() : wasmBackend();
}

let backend: Backend | undefined;

serveRpc(parentPort(), {
  open(name: ServerBackend) {
    backend = makeBackend(name);
    setBackend(backend);
    return backend.description;
  },

  start(job: TrainingJob) {
    if (!backend) throw new Error('training: open comes before start');
    cancelled = false;
    trainer = new SideTrainer(job, backend);
  },

  receive(batch: ReceivedBatch) {
    trainer?.receive(batch);
    wake?.();
    return trainer?.cacheBytes;
  },

  /** Runs to the end, an event at a time; rows that arrive meanwhile are let in between. */
  async run(_: undefined, { emit }) {
    const running = trainer;
    if (!running) throw new Error('training: start comes before run');
    const events = running.run();
    for (;;) {
      const startMs = monotonicMs();
      const next: IteratorResult<TrainerEvent, void> = events.next();
      if (cancelled || next.done) break;
      if (next.value.kind === 'wait') {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
      } else {
        emit({ event: next.value, startMs, endMs: monotonicMs() } satisfies TimedEvent);
        await turn();
      }
    }
    events.return();
    const bytes = running.cacheBytes;
    return { cache: bytes, backendPeakBytes: backend?.memory().peakBytes ?? 0 };
  },

  /** Ends the run at its next event and drops what was received. */
  close() {
    cancelled = true;
    wake?.();
    trainer?.close();
    trainer = undefined;
  },
});
