import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import { labelLoss } from '../../../src/device/label-loss.ts';
import { openLmHead } from '../../../src/model/index.ts';
import { DeviceLossEngine, type LossRequest } from '../../../src/server/device-loss.ts';
import {
  SideTrainer,
  type TrainedModel,
  type TrainerEvent,
  type TrainingOptions,
} from '../../../src/server/index.ts';
import type { TrainerSnapshot } from '../../../src/server/trainer-snapshot.ts';
import { type Backend, cpuBackend, wasmBackend } from '../../../src/tensor/index.ts';
import { LM_SHAPE, LM_VOCAB, lmHeadBytes, lmTask } from '../../support/lm-training.ts';
import { furthest } from '../../support/train-steps.ts';

type Task = ReturnType<typeof lmTask>;

/** Where the device's half of a test is: it alone knows the labels. */
function deviceOf(task: Task, backend: Backend) {
  const labels = new Map<string, number[]>();
  for (const { split, rows, counts = [], labels: all } of [...task.train, ...task.valid]) {
    let at = 0;
    rows.forEach((row, i) => {
      labels.set(`${split} ${row}`, all.slice(at, at + counts[i]));
      at += counts[i];
    });
  }
  const expected = { vocab: LM_VOCAB, width: LM_SHAPE.width };
  const head = openLmHead(lmHeadBytes(), expected, backend);
  const { labelSmoothing } = task.job.options;
  return (request: LossRequest) => {
    const { part, split, runs, width } = request;
    const asked = runs.flatMap(({ row, first, count }) => {
      const row_ = labels.get(`${split} ${row}`) as number[];
      assert.ok(first + count <= row_.length);
      return row_.slice(first, first + count);
    });
    return { part, width, ...labelLoss(head, asked, { ...request, labelSmoothing }, backend) };
  };
}

/** A server's half: no labels, no head; the engine that asks the device. */
function serverOf(task: Task, backend: Backend) {
  const engine = new DeviceLossEngine(backend, 'a test');
  const job = { ...task.job, labelsOnDevice: true };
  const trainer = new SideTrainer(job, backend, engine);
  for (const batch of [...task.train, ...task.valid]) trainer.receive({ ...batch, labels: [] });
  return { engine, trainer };
}

/** Drives a training until its end, or so many events. */
async function drive(trainer: SideTrainer, most = Number.POSITIVE_INFINITY) {
  const events: TrainerEvent[] = [];
  for (const event of trainer.run()) {
    if (event.kind === 'wait') {
      assert.ok(event.until, 'nothing else is waited for');
      await event.until;
    } else if (events.push(event) >= most) break;
  }
  return events;
}

const trainedOf = (events: readonly TrainerEvent[]): TrainedModel[] =>
  events.flatMap((event) => (event.kind === 'trained' ? [event.trained] : []));

/** The sum over all tokens at once, or of the sums of parts, both in f64. */
const REORDERED = 1e-12;

for (const [name, make] of [
  ['cpu', cpuBackend],
  ['wasm', () => wasmBackend()],
] as const) {
  describe(`labels on the device, ${name}`, () => {
    const cases: [string, Partial<TrainingOptions>, longest?: number][] = [
      ['one part a step', {}],
      ['smoothing and dropout', { labelSmoothing: 0.1, tapDropout: 0.3, epochs: 2 }],
      // Parts of 256 tokens: two and three a step.
      ['several parts a step', { batchSize: 6, tapDropout: 0.2, epochs: 2 }, 170],
    ];
    for (const [what, options, longest] of cases) {
      it(`give the steps and the adapter of labels on the server, bit for bit: ${what}`, async () => {
        const backend = make();
        const task = lmTask(options, longest);
        const local = new SideTrainer(task.job, backend);
        for (const batch of [...task.train, ...task.valid]) local.receive(batch);
        local.useHead(lmHeadBytes());
        const expected = [...local.run()];
        local.close();
        const device = deviceOf(task, backend);
        const before = backend.memory().bytes;
        const { engine, trainer } = serverOf(task, backend);
        engine.ask = (request) => engine.answer(device(request));
        const events = await drive(trainer);
        const near = (a: number | undefined, b: number | undefined) =>
          assert.ok(Math.abs((a ?? 0) - (b ?? 0)) <= REORDERED * Math.abs(b ?? 0), `${a}, ${b}`);
        assert.equal(events.length, expected.length);
        events.forEach((event, i) => {
          const other = expected[i];
          if (event.kind === 'step') assert.deepEqual(event, other);
          if (event.kind === 'epoch' && other.kind === 'epoch') {
            assert.equal(event.trainLoss, other.trainLoss);
            near(event.validLoss, other.validLoss);
          }
        });
        const [[one], [two]] = [trainedOf(events), trainedOf(expected)];
        assert.deepEqual(one.weights, two.weights);
        near(one.startLoss, two.startLoss);
        assert.ok(one.startLoss && one.validLoss < one.startLoss);
        trainer.close();
        await engine.close();
        assert.equal(backend.memory().bytes, before, 'tensors are given back');
      });
    }
  });
}

describe('a device that has the labels', () => {
  it('may answer late: several parts of one step are under way, never of two', async () => {
    const backend = cpuBackend();
    // Six parts a step, of 256 tokens and less.
    const task = lmTask({ batchSize: 12, epochs: 1 }, 250);
    const device = deviceOf(task, backend);
    const { engine, trainer } = serverOf(task, backend);
    const asked: LossRequest[] = [];
    let most = 0;
    engine.ask = (request) => {
      asked.push(request);
      if (request.gradient) most = Math.max(most, asked.length);
      const { split, tokens } = asked[0];
      if (split === 'train') assert.ok(asked.every((one) => one.tokens === tokens));
      setTimeout(() => engine.answer(device(asked.shift() as LossRequest)), 1);
    };
    await drive(trainer);
    assert.equal(asked.length, 0);
    assert.equal(most, 4);
  });

  it('must answer in order, and what was asked', async () => {
    const backend = cpuBackend();
    const task = lmTask();
    const device = deviceOf(task, backend);
    const { engine, trainer } = serverOf(task, backend);
    assert.throws(
      () => engine.answer({ part: 0, loss: 0, width: 16, gradient: new Float32Array(0) }),
      {
        name: 'ProtocolError',
        code: 'E_JOB',
      },
    );
    const asked = await new Promise<LossRequest>((resolve) => {
      engine.ask = resolve;
      void drive(trainer, 1).catch(() => {});
    });
    const right = device(asked);
    const refused = (answer: Partial<typeof right>, says: RegExp) =>
      assert.throws(() => engine.answer({ ...right, ...answer }), {
        name: 'ProtocolError',
        code: 'E_JOB',
        message: says,
      });
    refused({ part: 1 }, /of part 1, 0 is due/);
    refused({ width: 8 }, /numbers of width 8/);
    refused({ gradient: right.gradient.slice(16) }, /numbers of width 16, \d+ of 16 are due/);
    refused({ gradient: new Float32Array(0) }, /0 numbers/);
    engine.abort();
  });

  it('gives them away to who has the head: a gradient names its label', async () => {
    const backend = cpuBackend();
    const task = lmTask({ epochs: 1 });
    const device = deviceOf(task, backend);
    const expected = { vocab: LM_VOCAB, width: LM_SHAPE.width };
    const head = openLmHead(lmHeadBytes(), expected, backend);
    const { engine, trainer } = serverOf(task, backend);
    const named: number[] = [];
    engine.ask = (request) => {
      const answer = device(request);
      const { states, width, tokens } = request;
      const size = answer.gradient.length / width;
      for (let r = 0; r < size; r++) {
        const at = (values: Float32Array) => values.slice(r * width, (r + 1) * width);
        const one = { states: at(states), tokens, gradient: true, labelSmoothing: 0 };
        const far = Array.from({ length: LM_VOCAB }, (_, label) => {
          const { gradient } = labelLoss(head, [label], one, backend);
          return furthest([...gradient], [...at(answer.gradient)]);
        });
        named.push(far.indexOf(Math.min(...far)));
      }
      engine.answer(answer);
    };
    await drive(trainer);
    assert.deepEqual(
      named,
      task.train.flatMap(({ labels }) => labels),
    );
  });

  it('lets a training go on from a snapshot, also one in the middle of a step', async () => {
    const backend = cpuBackend();
    const task = lmTask();
    const device = deviceOf(task, backend);
    const whole = serverOf(task, backend);
    whole.engine.ask = (request) => whole.engine.answer(device(request));
    const expected = trainedOf(await drive(whole.trainer));
    for (const parts of [0, 1, 4, 7, 11]) {
      const first = serverOf(task, backend);
      let answered = 0;
      const stopped = new Promise<void>((resolve) => {
        first.engine.ask = (request) => {
          if (answered++ < parts) first.engine.answer(device(request));
          else resolve();
        };
        void drive(first.trainer).catch(() => {});
      });
      await stopped;
      const snapshot = deserialize(serialize(first.trainer.snapshot())) as TrainerSnapshot;
      first.trainer.close();
      await first.engine.close();
      const second = serverOf(task, backend);
      second.trainer.restore(snapshot);
      second.engine.ask = (request) => second.engine.answer(device(request));
      assert.deepEqual(trainedOf(await drive(second.trainer)), expected);
    }
  });
});
