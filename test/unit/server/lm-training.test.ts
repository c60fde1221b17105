import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { createSideModel, decodeLmHead } from '../../../src/model/index.ts';
import { SideTrainer, type TrainedModel, type TrainerEvent } from '../../../src/server/index.ts';
import { lmObjective } from '../../../src/server/lm-objective.ts';
import { sideGradients } from '../../../src/server/side-step.ts';
import type { TrainerSnapshot } from '../../../src/server/trainer-snapshot.ts';
import {
  cpuBackend,
  flatten,
  random,
  randomNormal,
  scope,
  slice,
  type Tensor,
} from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { LM_SHAPE, LM_VOCAB, lmHeadBytes, lmTask } from '../../support/lm-training.ts';
import { SIDE_OPTIONS } from '../../support/side.ts';
import { furthest } from '../../support/train-steps.ts';

/** Sums of some dozen f32 in another order. */
const REORDERED = 1e-5;

/** A trainer that has all rows, and its head. */
function trainerWith(task: ReturnType<typeof lmTask>): SideTrainer {
  const trainer = new SideTrainer(task.job, cpuBackend());
  for (const batch of [...task.train, ...task.valid]) trainer.receive(batch);
  trainer.useHead(lmHeadBytes());
  return trainer;
}

const trainedOf = (events: readonly TrainerEvent[]): TrainedModel[] =>
  events.flatMap((event) => (event.kind === 'trained' ? [event.trained] : []));

describe('a language model is trained', () => {
  it('once its head has come, from the frozen loss downwards', () => {
    const task = lmTask({ epochs: 25 });
    const backend = cpuBackend();
    const trainer = new SideTrainer(task.job, backend);
    for (const batch of [...task.train, ...task.valid]) trainer.receive(batch);
    const run = trainer.run();
    assert.deepEqual(run.next().value, { kind: 'wait' });
    trainer.useHead(lmHeadBytes());
    const [trained] = trainedOf([...run]);
    const { startLoss = Number.NaN, validLoss, validAccuracy } = trained;
    assert.ok(validLoss < 0.8 * startLoss, `${startLoss} to ${validLoss}`);
    assert.equal(validAccuracy, null);
    trainer.close();
    assert.equal(backend.memory().bytes, 0);
  });

  it('refuses the head of another model', () => {
    const trainer = new SideTrainer(lmTask().job, cpuBackend());
    assert.throws(() => trainer.useHead(lmHeadBytes(LM_VOCAB + 1)), { code: 'E_LM_HEAD' });
  });

  it('goes on from a snapshot with the adapter that would have come', () => {
    const task = lmTask();
    const whole = trainerWith(task);
    const events = [...whole.run()];
    for (const stop of [1, 4, events.length - 2]) {
      const first = trainerWith(task);
      const run = first.run();
      for (let i = 0; i < stop; i++) run.next();
      const snapshot = deserialize(serialize(first.snapshot())) as TrainerSnapshot;
      run.return();
      const second = trainerWith(task);
      second.restore(snapshot);
      assert.deepEqual(trainedOf([...second.run()]), trainedOf(events));
    }
  });
});

for (const { name, backend } of backends()) {
  it(`parts of a batch give the gradient of the batch, on ${name}`, () => {
    const side = createSideModel('parallel', LM_SHAPE, { ...SIDE_OPTIONS, head: 'gated' });
    const expected = { vocab: LM_VOCAB, width: LM_SHAPE.width };
    const objective = lmObjective(decodeLmHead(lmHeadBytes(), expected, backend));
    const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(cuts, fc.nat(1000), (parts, seed) =>
        scope(() => {
          const rng = random(seed);
          const rows = parts.reduce((sum, part) => sum + part, 0);
          const params = side.init(rng, backend);
          // Not at the start, where half of all gradients are 0.
          for (const up of params.up as Tensor[]) {
            up.write(Float32Array.from({ length: up.numel }, () => 0.1 * rng.normal()));
          }
          const taps = Array.from({ length: LM_SHAPE.layers + 1 }, () =>
            randomNormal([rows, LM_SHAPE.width], 1, rng, backend),
          );
          const labels = Array.from({ length: rows }, () => rng.int(LM_VOCAB));
          const part = (from: number, to: number) => ({
            taps: taps.map((tap) => slice(tap, 0, from, to)),
            targets: objective.targets(labels.slice(from, to), backend),
          });
          const whole = sideGradients(side, objective, params, part(0, rows), 0);
          let at = 0;
          const sums = new Map<string, number[]>();
          let loss = 0;
          for (const length of parts) {
            const share = length / rows;
            const piece = sideGradients(side, objective, params, part(at, at + length), 0, share);
            at += length;
            loss += piece.value.item();
            for (const [path, leaf] of flatten(piece.grads)) {
              const before = sums.get(path);
              sums.set(
                path,
                [...leaf.toFloat32()].map((x, i) => x + (before?.[i] ?? 0)),
              );
            }
          }
          assert.ok(Math.abs(loss - whole.value.item()) < REORDERED);
          for (const [path, leaf] of flatten(whole.grads)) {
            const distance = furthest([...leaf.toFloat32()], sums.get(path) as number[]);
            assert.ok(distance < REORDERED, `${path}: ${distance}`);
          }
        }),
      ),
      { numRuns: 20 },
    );
  });
}
