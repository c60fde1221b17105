import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trainingOptionsSchema } from '../../../src/server/index.ts';
import { TRAINING_OPTIONS } from '../../support/training.ts';

test('hyper-parameters are taken whole, or refused', () => {
  assert.deepEqual(trainingOptionsSchema.parse(TRAINING_OPTIONS), TRAINING_OPTIONS);
  // A key the server does not know could be one that matters: silence would train another model.
  assert.equal(trainingOptionsSchema.safeParse({ ...TRAINING_OPTIONS, warmup: 3 }).success, false);
  for (const key of Object.keys(TRAINING_OPTIONS)) {
    const missing = { ...TRAINING_OPTIONS, [key]: undefined };
    const { error } = trainingOptionsSchema.safeParse(missing);
    assert.deepEqual(error?.issues[0].path, [key]);
  }
});

test('values out of range are refused by name', () => {
  const faults: [string, unknown][] = [
    ['side', 'lora'],
    ['baselines', ['probe', 'lora']],
    ['epochs', 0],
    ['epochs', 1.5],
    ['batchSize', 65_537],
    ['learningRate', 0],
    ['learningRate', Number.NaN],
    ['learningRate', 11],
    ['warmupRatio', 1.1],
    ['weightDecay', -1],
    ['maxGradNorm', 0],
    ['rank', 0],
    ['gateRate', 0],
    ['head', 'sparse'],
    ['tapDropout', 1],
    ['labelSmoothing', -0.1],
    ['seed', -1],
  ];
  for (const [key, value] of faults) {
    const { error } = trainingOptionsSchema.safeParse({ ...TRAINING_OPTIONS, [key]: value });
    assert.equal(error?.issues[0].path[0], key, `${key} ${value}`);
  }
});
