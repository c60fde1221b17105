import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shapeOfPlan, shotsPrefix } from '../../../src/device/index.ts';

test('the shape of a plan: layers, width, kinds, classes', () => {
  const plan = {
    template: '{text}',
    labels: ['a', 'b', 'c'],
    prefix: '',
    maxSeqLength: 8,
    layers: [1, 4],
    kinds: ['mean'],
    bits: 4,
  } as const;
  assert.deepEqual(shapeOfPlan(plan, 16), { layers: 2, width: 16, kinds: 1, classes: 3 });
});

test('examples are worded like prompts, each with its label behind it', () => {
  const shots = [
    { text: 'so good', label: 'up' },
    { text: 'so {bad}', textPair: 'x', label: 'down' },
  ];
  const template = '{text}\nOf {labels}:';
  assert.equal(
    shotsPrefix(template, ['up', 'down'], shots),
    'so good\nOf up, down: up\n\nso {bad}\nOf up, down: down\n\n',
  );
  assert.equal(shotsPrefix(template, ['up', 'down'], []), '');
  assert.equal(shotsPrefix('{text}|{text_pair}', ['up'], shots.slice(1)), 'so {bad}|x down\n\n');
  assert.throws(() => shotsPrefix('{text}|{text_pair}', ['up'], shots), { code: 'E_TEMPLATE' });
});
