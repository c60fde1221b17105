import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import {
  createSideModel,
  decodeSample,
  layersToSamples,
  loadAdapterWeights,
  tapTensors,
} from '../../../src/model/index.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import {
  type ReceivedBatch,
  SideTrainer,
  type TrainedModel,
  type TrainerEvent,
} from '../../../src/server/index.ts';
import {
  argmax,
  type Backend,
  cpuBackend,
  crossEntropy,
  disposeTree,
  FormatError,
  scope,
  tensor,
} from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { type TinyTask, tinyTask } from '../../support/training.ts';

const folder = mkdtempSync(join(tmpdir(), 'mobillm-trainer-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Trains to the end; before each event, `due` says how many of the batches to come arrive now. */
function trainTask(
  task: TinyTask,
  backend: Backend,
  due: (event: number) => number = () => Number.POSITIVE_INFINITY,
): TrainerEvent[] {
  const trainer = new SideTrainer(task.job, backend);
  const queue: ReceivedBatch[] = [...task.train, ...task.valid];
  const events: TrainerEvent[] = [];
  const run = trainer.run();
  for (let i = 0; ; i++) {
    for (let n = due(i); n > 0 && queue.length > 0; n--)
      trainer.receive(queue.shift() as ReceivedBatch);
    const next = run.next();
    if (next.done) break;
    events.push(next.value);
    assert.ok(next.value.kind !== 'wait' || queue.length > 0, 'it waits although all has come');
  }
  trainer.close();
  return events;
}

const without = (events: readonly TrainerEvent[], kind: TrainerEvent['kind']) =>
  events.filter((event) => event.kind !== kind);
const trainedOf = (events: readonly TrainerEvent[]): TrainedModel[] =>
  events.flatMap((event) => (event.kind === 'trained' ? [event.trained] : []));

describe('SideTrainer', () => {
  for (const { name, backend } of backends()) {
    it(`makes the same steps and adapter, however rows arrive, on ${name}`, () => {
      const task = tinyTask({ baselines: ['probe', 'mix'] });
      const atOnce = trainTask(task, backend);
      assert.equal(without(atOnce, 'wait').length, atOnce.length, 'nothing to wait for');
      const arrivals = fc.array(fc.constantFrom(0, 0, 1, 2), { maxLength: 12 });
      fc.assert(
        fc.property(arrivals, (counts) => {
          const events = trainTask(task, backend, (i) => counts[i] ?? 1);
          assert.deepEqual(without(events, 'wait'), atOnce);
        }),
        { numRuns: 6 },
      );
    });
  }

  const cpu = cpuBackend();

  it('solves a kernel head once all rows are there, however they come, and trains others after it', () => {
    const task = tinyTask({ side: 'kernel', baselines: ['probe'] });
    const atOnce = trainTask(task, cpu);
    assert.deepEqual(
      without(
        trainTask(task, cpu, (i) => i % 2),
        'wait',
      ),
      atOnce,
    );
    assert.deepEqual(
      atOnce.slice(0, 3).map(({ kind }) => kind),
      ['epoch', 'trained', 'step'],
    );
    const [solved, probe] = trainedOf(atOnce);
    assert.deepEqual([solved.name, solved.bestEpoch, solved.epochs], ['kernel', 1, 1]);
    assert.ok((solved.validAccuracy ?? 0) >= (probe.validAccuracy ?? 1));
    assert.equal(cpu.memory().bytes, 0);
  });

  it('steps on each batch as it comes, and waits where one is missing', () => {
    const task = tinyTask({ epochs: 2 });
    const trainer = new SideTrainer(task.job, cpu);
    const run = trainer.run();
    const next = () => {
      const { value } = run.next();
      if (value?.kind === 'step') return `step ${value.step}`;
      return value?.kind === 'epoch' ? `epoch ${value.epoch}` : value?.kind;
    };
    assert.equal(next(), 'wait');
    for (const [i, batch] of task.train.entries()) {
      trainer.receive(batch);
      assert.equal(next(), `step ${i + 1}`);
      assert.equal(next(), 'wait');
    }
    trainer.receive(task.valid[0]);
    assert.equal(next(), 'wait', 'validation takes all of its rows');
    trainer.receive(task.valid[1]);
    const rest = [next(), next(), next(), next(), next(), next(), next()];
    const expected = ['epoch 1', 'step 4', 'step 5', 'step 6', 'epoch 2', 'trained', undefined];
    assert.deepEqual(rest, expected);
    trainer.close();
  });

  it('trains from disk what it trains from memory', () => {
    const memory = trainTask(tinyTask(), cpu);
    const spilling = tinyTask({}, { cacheLimit: 1, spillDir: folder });
    const trainer = new SideTrainer(spilling.job, cpu);
    for (const batch of [...spilling.train, ...spilling.valid]) trainer.receive(batch);
    const { memory: held, spilled } = trainer.cacheBytes;
    assert.ok(held === 0 && spilled > 0);
    assert.deepEqual([...trainer.run()], memory);
    trainer.close();
    assert.deepEqual(readdirSync(folder), []);
  });

  it('moves with the seed and with nothing else', () => {
    const [first] = trainedOf(trainTask(tinyTask(), cpu));
    assert.deepEqual(trainedOf(trainTask(tinyTask(), cpu))[0], first);
    const [other] = trainedOf(trainTask(tinyTask({ seed: 6 }), cpu));
    assert.notDeepEqual(other.weights, first.weights);
  });

  it('learns what can be learnt, every side network and baseline on the same rows', () => {
    const options = { epochs: 8, baselines: ['probe', 'mix'] } as const;
    const task = tinyTask({ ...options, baselines: [...options.baselines] });
    const trained = trainedOf(trainTask(task, cpu));
    assert.deepEqual(
      trained.map(({ name, validAccuracy }) => [name, validAccuracy]),
      [
        ['parallel', 1],
        ['probe', 1],
        ['mix', 1],
      ],
    );
  });

  it('refit trains anew for the chosen epochs on training and validation rows', () => {
    const rows = { train: 24, valid: 8 };
    const task = tinyTask({ epochs: 3, batchSize: 8, refit: true }, { rows });
    const steps = trainTask(task, cpu).flatMap((e) => (e.kind === 'step' ? [e] : []));
    const [trained] = trainedOf(trainTask(task, cpu));
    const again = steps.filter((step) => step.epoch > 3);
    assert.equal(again.length, 4 * trained.bestEpoch, '32 rows in batches of 8');
    assert.deepEqual(
      steps.map(({ step }) => step),
      Array.from({ length: 9 + again.length }, (_, i) => i + 1),
    );
    const without = tinyTask({ epochs: 3, batchSize: 8, refit: false }, { rows });
    assert.notDeepEqual(trained.weights, trainedOf(trainTask(without, cpu))[0].weights);
  });

  it('keeps the last epoch within one standard error of the best on the validation rows', async () => {
    // Much noise and steps far too long: accuracy goes up and down.
    const task = tinyTask(
      { epochs: 10, learningRate: 0.5 },
      { noise: 3, rows: { train: 24, valid: 30 } },
    );
    const events = trainTask(task, cpu);
    const [best] = trainedOf(events);
    const epochs = events.flatMap((event) =>
      event.kind === 'epoch' ? [{ ...event, validAccuracy: event.validAccuracy as number }] : [],
    );
    const top = Math.max(...epochs.map((epoch) => epoch.validAccuracy));
    const error = Math.sqrt((top * (1 - top)) / 30);
    const expected = epochs.findLast((epoch) => epoch.validAccuracy >= top - error);
    assert.equal(best.bestEpoch, expected?.epoch);
    assert.ok(
      epochs.some((epoch) => epoch.validAccuracy < top - error),
      'some epochs are worse',
    );
    assert.deepEqual(
      [best.validAccuracy, best.validLoss],
      [expected?.validAccuracy, expected?.validLoss],
    );

    // Its weights are those of that epoch: loaded anew they give the same loss, to the bit.
    const { shape, codec, options } = task.job;
    const model = createSideModel(best.name, shape, options);
    const adapter = await loadAdapterWeights(memoryByteSource(best.weights, 'best'), model, cpu);
    let loss = 0;
    let correct = 0;
    for (const { rows, labels, taps } of task.valid) {
      scope(() => {
        const samples = layersToSamples(taps, rows.length);
        const decoded = samples.map((bytes) => decodeSample(bytes, shape, codec));
        const inputs = tapTensors(decoded, shape, adapter.standardizer, cpu);
        const logits = model.logits(adapter.params, inputs);
        const targets = tensor(Int32Array.from(labels), [labels.length], { backend: cpu });
        loss += crossEntropy(logits, targets, { reduction: 'sum' }).item();
        argmax(logits, 1)
          .toArray()
          .forEach((label, i) => {
            if (label === labels[i]) correct++;
          });
      });
    }
    disposeTree(adapter.params);
    assert.equal(correct / 30, best.validAccuracy);
    // Sums of a batch in f32 here, of rows in f64 there.
    assert.ok(Math.abs(loss / 30 - best.validLoss) < 1e-6 * best.validLoss);
  });

  it('gives its tensors back, also when it is stopped half-way', () => {
    const task = tinyTask({ baselines: ['probe'] });
    const before = cpu.memory().bytes;
    trainTask(task, cpu);
    assert.equal(cpu.memory().bytes, before);
    const trainer = new SideTrainer(task.job, cpu);
    for (const batch of [...task.train, ...task.valid]) trainer.receive(batch);
    const run = trainer.run();
    for (let i = 0; i < 2; i++) run.next();
    assert.ok(cpu.memory().bytes > before);
    run.return();
    trainer.close();
    assert.equal(cpu.memory().bytes, before);
  });

  it('refuses a row twice, and taps of another size', () => {
    const task = tinyTask();
    const trainer = new SideTrainer(task.job, cpu);
    trainer.receive(task.train[0]);
    assert.throws(() => trainer.receive(task.train[0]), FormatError);
    const short = task.train[1].taps.map((bytes) => bytes.subarray(0, bytes.length - 4));
    assert.throws(() => trainer.receive({ ...task.train[1], taps: short }), FormatError);
    trainer.close();
  });
});
