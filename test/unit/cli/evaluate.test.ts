import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceThread } from '../../../src/cli/device-thread.ts';
import {
  baselineScores,
  classifyRows,
  encodeRows,
  majorityAccuracy,
  measureAdapter,
  sentLabels,
} from '../../../src/cli/evaluate.ts';
import type { ClassificationScores, RegressionScores, Sample } from '../../../src/data/index.ts';
import type { EncodedBatch, TimedBatch } from '../../../src/device/index.ts';

/** A device whose taps are the texts' bytes, and whose adapter `first` reads the class off them. */
const device = {
  async encode(samples: readonly Sample[]): Promise<TimedBatch> {
    const taps = [Uint8Array.from(samples, ({ text }) => text.charCodeAt(0))];
    return {
      taps,
      samples: samples.length,
      tokens: 2 * samples.length,
      truncated: 0,
      startMs: 0,
      endMs: 1,
    };
  },
  async classify(name: string, batch: EncodedBatch): Promise<Float32Array[]> {
    assert.equal(name, 'first');
    return Array.from(batch.taps[0], (code) => {
      const row = new Float32Array(3).fill(0.25);
      row[code - 'a'.charCodeAt(0)] = 0.5;
      return row;
    });
  },
} as unknown as DeviceThread;

const ROWS: Sample[] = ['a', 'c', 'b', 'c', 'a'].map((text) => ({ text, label: text }));

test('rows go through the device in batches and come back in order', async () => {
  const heard: number[] = [];
  const batches = await encodeRows(device, ROWS, 2, (batch, done) => {
    assert.equal(batch.tokens, 2 * batch.samples);
    heard.push(done);
  });
  assert.deepEqual(heard, [2, 4, 5]);
  assert.deepEqual(
    batches.map(({ samples }) => samples),
    [2, 2, 1],
  );
  const classes = await classifyRows(device, 'first', batches);
  assert.deepEqual(
    classes.map(({ label, probability }) => [label, probability]),
    [0, 2, 1, 2, 0].map((label) => [label, 0.5]),
  );
  assert.deepEqual(await encodeRows(device, [], 2), []);
});

test('accuracy is the share of rows whose likeliest class is their label', async () => {
  const batches = await encodeRows(device, ROWS, 3);
  const rows = ['a', 'c', 'b', 'b', 'b'].map((label) => ({ text: '', label }));
  const outputs = { labels: ['a', 'b', 'c'] };
  const measured = await measureAdapter(device, 'first', batches, rows, outputs);
  assert.deepEqual(measured.labels, [0, 2, 1, 1, 1]);
  assert.deepEqual(measured.predicted, [0, 2, 1, 2, 0]);
  const { matthews, macroF1, ...rest } = measured.scores as ClassificationScores;
  assert.deepEqual(rest, { accuracy: 0.6, correct: 3, rows: 5 });
  // F1 of the classes: 2/3, 1/2, 2/3.
  assert.equal(macroF1, (2 / 3 + 0.5 + 2 / 3) / 3);
  assert.ok(matthews > 0.4 && matthews < 0.6, `${matthews}`);
});

test('numbers are put back into the unit of their labels', async () => {
  const batches = await encodeRows(device, ROWS, 3);
  // The device's outputs begin with 0.5 for "a" and 0.25 for the others.
  const outputs = { labels: [], target: { mean: 10, deviation: 4 } };
  const rows = ['12', '11', '11', '11', '14'].map((label) => ({ text: '', label }));
  const measured = await measureAdapter(device, 'first', batches, rows, outputs);
  assert.deepEqual(measured.predicted, [12, 11, 11, 11, 12]);
  const scores = measured.scores as RegressionScores;
  assert.equal(scores.mae, 0.4);
  const before = baselineScores(rows, rows, outputs) as RegressionScores;
  assert.deepEqual([before.mae, before.pearson], [(2 + 1 + 1 + 1 + 4) / 5, null]);
  assert.deepEqual(sentLabels(rows.slice(0, 2), [], outputs.target), [0.5, 0.25]);
  const classes = baselineScores(ROWS, ROWS, { labels: ['a', 'b', 'c'] }) as ClassificationScores;
  assert.equal(classes.accuracy, 0.4);
});

test('the most frequent training class, on the test rows', () => {
  assert.equal(majorityAccuracy([0, 1, 1, 2], [1, 1, 0, 2], 3), 0.5);
  // Of classes that are equally frequent, the first.
  assert.equal(majorityAccuracy([2, 1, 1, 2], [1, 1, 0, 2], 3), 0.5);
  assert.equal(majorityAccuracy([0], [1, 2], 3), 0);
});
