import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import { CompiledEngine } from '../../../src/server/compiled-engine.ts';
import type { TrainerEvent } from '../../../src/server/index.ts';
import type { StepEngine, StepsCall } from '../../../src/server/step-engine.ts';
import type { TrainerSnapshot } from '../../../src/server/trainer-snapshot.ts';
import { cpuBackend, gpuBackend } from '../../../src/tensor/index.ts';
import { eventsOf, trainerOf } from '../../support/engine-trainings.ts';
import { lmHeadBytes, lmTask } from '../../support/lm-training.ts';
import { tinyTask } from '../../support/training.ts';

/**
 * Losses and norms after some twenty steps in f32, beside the same with sums in f64: AdamW makes a
 * step of the rate's size also of a gradient that is next to nothing, whose sign a rounding decides.
 */
const SAME = 1e-3;

const gpu = await gpuBackend({ mode: 'webasm' });
const engine = new CompiledEngine(gpu);
after(() => engine.close());

/** What steps and epochs say, and how many steps there are. */
function numbersOf(events: readonly TrainerEvent[]): number[] {
  return events.flatMap((event) => {
    if (event.kind === 'step') return [event.step, event.epoch, event.loss, event.gradNorm];
    if (event.kind === 'epoch') return [event.trainLoss, event.validLoss, event.validAccuracy ?? 0];
    return [];
  });
}

function assertNear(got: readonly number[], expected: readonly number[], tolerance: number): void {
  assert.equal(got.length, expected.length);
  got.forEach((value, i) => {
    assert.ok(Math.abs(value - expected[i]) <= tolerance, `${i}: ${value} is not ${expected[i]}`);
  });
}

describe('a trainer with an engine of compiled steps', () => {
  for (const [name, task, head] of [
    ['a classifier', tinyTask({ baselines: ['probe'], epochs: 4, refit: true }), undefined],
    ['a language model', lmTask({ epochs: 3 }), lmHeadBytes()],
  ] as const) {
    it(`says of ${name} what cpu says`, async () => {
      const plain = trainerOf(task, cpuBackend());
      const compiled = trainerOf(task, cpuBackend(), engine);
      if (head) plain.useHead(head);
      if (head) await compiled.useHead(head);
      const expected = await eventsOf(plain);
      const { events } = await eventsOf(compiled);
      assert.ok(
        events.some((event) => event.kind === 'step' && (event.rest ?? 0) > 0),
        'a call makes several steps',
      );
      assertNear(numbersOf(events), numbersOf(expected.events), SAME);
    });
  }

  it('is cut where it is to be saved, and goes on from there bit for bit', async () => {
    const task = tinyTask({ epochs: 4 });
    const calls: number[] = [];
    const counting: StepEngine = {
      ...{ description: '', begin: (job) => engine.begin(job), close: () => engine.close() },
      ...{ useHead: (bytes) => engine.useHead(bytes), peakBytes: () => engine.peakBytes() },
      scores: (call) => engine.scores(call),
      steps(call: StepsCall) {
        calls.push(call.batches.length);
        return engine.steps(call);
      },
    };
    const whole = trainerOf(task, cpuBackend(), counting);
    whole.mostSteps = () => 2;
    const { events } = await eventsOf(whole);
    // Three batches an epoch: one by one as they come, then cut at two and at the epoch's end.
    assert.deepEqual(calls, [1, 1, 1, 2, 1, 2, 1, 2, 1]);
    for (const stop of [5]) {
      const first = trainerOf(task, cpuBackend(), counting);
      first.mostSteps = () => 2;
      const before = await eventsOf(first, stop);
      const snapshot = deserialize(serialize(first.snapshot())) as TrainerSnapshot;
      before.run.return();
      const next = trainerOf(task, cpuBackend(), counting);
      next.mostSteps = () => 2;
      next.restore(snapshot);
      const after = await eventsOf(next);
      const steps = (list: readonly TrainerEvent[]) => list.filter(({ kind }) => kind === 'step');
      assert.deepEqual(steps([...before.events, ...after.events]), steps(events));
      assert.deepEqual(after.events.at(-1), events.at(-1), 'the same adapter');
    }
  });

  it('tells the trainer what goes wrong, and frees all that a job took', async () => {
    const bytes = gpu.memory().bytes;
    const broken = trainerOf(tinyTask(), cpuBackend(), {
      ...{ description: '', peakBytes: async () => 0, close: async () => {} },
      ...{ begin: async () => {}, useHead: async () => {}, scores: async () => [] },
      steps: () => Promise.reject(new Error('the device is gone')),
    });
    await assert.rejects(eventsOf(broken), /the device is gone/);
    await eventsOf(trainerOf(tinyTask(), cpuBackend(), engine));
    assert.equal(gpu.memory().bytes, bytes, 'a job ends with what the one before it held');
  });
});
