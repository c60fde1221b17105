import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { SideTrainer, type TrainedModel, type TrainerEvent } from '../../../src/server/index.ts';
import type { TrainerSnapshot } from '../../../src/server/trainer-snapshot.ts';
import { type Backend, cpuBackend, FormatError } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { type TinyTask, tinyTask } from '../../support/training.ts';

/** As it comes back from a file. */
const stored = <T>(value: T): T => deserialize(serialize(value)) as T;

/** A trainer that has received the first `batches` of a task. */
function trainerWith(task: TinyTask, batches: number, backend: Backend): SideTrainer {
  const trainer = new SideTrainer(task.job, backend);
  for (const batch of [...task.train, ...task.valid].slice(0, batches)) trainer.receive(batch);
  return trainer;
}

const steps = (events: readonly TrainerEvent[]) =>
  events.flatMap((event) => (event.kind === 'step' ? [event] : []));
const trained = (events: readonly TrainerEvent[]): TrainedModel[] =>
  events.flatMap((event) => (event.kind === 'trained' ? [event.trained] : []));

describe('a trainer goes on from a snapshot', () => {
  for (const { name, backend } of backends()) {
    it(`with the steps and the adapters that would have come, wherever it stopped, on ${name}`, () => {
      const task = tinyTask({ baselines: ['probe'], epochs: 2, refit: true });
      const all = task.train.length + task.valid.length;
      const whole = trainerWith(task, all, backend);
      const events = [...whole.run()];
      whole.close();
      const before = backend.memory().bytes;
      // Stopped more than once: events until each stop, batches that have come by the first.
      const stops = fc.array(fc.nat(events.length + 2), { minLength: 1, maxLength: 3 });
      fc.assert(
        fc.property(stops, fc.nat(all), (lengths, batches) => {
          let snapshot: TrainerSnapshot | undefined;
          const seen: TrainerEvent[] = [];
          for (const [i, length] of lengths.entries()) {
            const trainer = trainerWith(task, i === 0 ? batches : all, backend);
            if (snapshot) trainer.restore(stored(snapshot));
            const run = trainer.run();
            for (let n = 0; n < length; n++) {
              const next = run.next();
              if (next.done || next.value.kind === 'wait') break;
              seen.push(next.value);
            }
            snapshot = trainer.snapshot();
            run.return();
            trainer.close();
          }
          const trainer = trainerWith(task, all, backend);
          trainer.restore(stored(snapshot as TrainerSnapshot));
          const rest = [...trainer.run()];
          trainer.close();
          // A trained model is told of again; a step is made once.
          assert.deepEqual(steps([...seen, ...rest]), steps(events));
          assert.deepEqual(trained(rest), trained(events));
        }),
        { numRuns: 25 },
      );
      assert.equal(backend.memory().bytes, before, 'tensors are given back');
    });
  }

  it('refuses to go on without the rows it had made steps on', () => {
    const task = tinyTask();
    const cpu = cpuBackend();
    const trainer = trainerWith(task, 3, cpu);
    const run = trainer.run();
    for (let n = 0; n < 3; n++) run.next();
    const snapshot = stored(trainer.snapshot());
    run.return();
    trainer.close();
    const poorer = trainerWith(task, 2, cpu);
    assert.throws(
      () => poorer.restore(snapshot),
      (error) => error instanceof FormatError && error.code === 'E_STATE',
    );
    poorer.close();
  });
});
