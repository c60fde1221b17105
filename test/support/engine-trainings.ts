import {
  type ReceivedBatch,
  SideTrainer,
  type TrainerEvent,
  type TrainingJob,
} from '../../src/server/index.ts';
import type { StepEngine } from '../../src/server/step-engine.ts';
import { type Backend, cpuBackend } from '../../src/tensor/index.ts';
import { tinyTask } from './training.ts';

/** A job, and all that a device sends of it. */
export interface WholeTask {
  readonly job: TrainingJob;
  readonly train: readonly ReceivedBatch[];
  readonly valid: readonly ReceivedBatch[];
}

/** A trainer that has all rows. */
export function trainerOf(task: WholeTask, backend: Backend, engine?: StepEngine): SideTrainer {
  const trainer = new SideTrainer(task.job, backend, engine);
  for (const batch of [...task.train, ...task.valid]) trainer.receive(batch);
  return trainer;
}

/** Drives a trainer as its thread does, up to so many events, but never into the middle of a call. */
export async function eventsOf(trainer: SideTrainer, most = Number.POSITIVE_INFINITY) {
  const events: TrainerEvent[] = [];
  const run = trainer.run();
  let rest = 0;
  while (events.length < most || rest > 0) {
    const next = run.next();
    if (next.done) break;
    if (next.value.kind === 'wait') {
      await next.value.until;
      continue;
    }
    events.push(next.value);
    rest = next.value.kind === 'step' ? (next.value.rest ?? 0) : 0;
  }
  return { events, run };
}

/**
 * Losses of ten epochs, on every backend beside cpu: f32 sums in another order, and taps that are
 * decoded in f32, some thirty steps long. A step left out, or made on other rows, is off by 1e-2.
 */
export const SAME_CURVE = 1e-4;

/** Mean training loss, then validation loss, of each of ten epochs of a job with drop-out and decay. */
export async function lossCurve(backend: Backend, engine?: StepEngine): Promise<number[]> {
  const task = tinyTask({ epochs: 10, weightDecay: 0.1 }, { noise: 1 });
  const trainer = trainerOf(task, backend, engine);
  const { events } = await eventsOf(trainer);
  trainer.close();
  return events.flatMap((event) =>
    event.kind === 'epoch' ? [event.trainLoss, event.validLoss] : [],
  );
}

/** The curve that all others are held against. */
export const curveOfCpu = () => lossCurve(cpuBackend());
