import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceThread } from '../../../src/cli/device-thread.ts';
import {
  classifyRows,
  encodeRows,
  majorityAccuracy,
  measureAdapter,
} from '../../../src/cli/evaluate.ts';
import type { Sample } from '../../../src/data/index.ts';
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
  const measured = await measureAdapter(device, 'first', batches, [0, 2, 1, 1, 1], 3);
  const { matthews, macroF1, ...rest } = measured;
  assert.deepEqual(rest, { accuracy: 0.6, correct: 3, rows: 5, predicted: [0, 2, 1, 2, 0] });
  // F1 of the classes: 2/3, 1/2, 2/3.
  assert.equal(macroF1, (2 / 3 + 0.5 + 2 / 3) / 3);
  assert.ok(matthews > 0.4 && matthews < 0.6, `${matthews}`);
});

test('the most frequent training class, on the test rows', () => {
  assert.equal(majorityAccuracy([0, 1, 1, 2], [1, 1, 0, 2], 3), 0.5);
  // Of classes that are equally frequent, the first.
  assert.equal(majorityAccuracy([2, 1, 1, 2], [1, 1, 0, 2], 3), 0.5);
  assert.equal(majorityAccuracy([0], [1, 2], 3), 0);
});
