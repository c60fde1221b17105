import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelCard } from '../../../src/cli/model-card.ts';
import { ADAPTER_CONFIG as CONFIG } from '../../support/adapter.ts';

test('a card says what the adapter is, how to use it, how it was made', () => {
  const card = modelCard({
    ...CONFIG,
    prefix: 'one a\n\ntwo b\n\n',
    training: { epochs: 2, learningRate: 0.001, seed: 0 },
    metrics: { best_epoch: 1, test_accuracy: 0.625 },
  });
  for (const line of [
    'base_model: "tiny"',
    '# parallel side network for tiny',
    'A classifier of 3 classes (a, b, c) beside a frozen backbone.',
    'mobillm predict --model tiny --adapter-path . --text "..."',
    'mobillm eval --model tiny --adapter-path . --data DIR',
    '| architecture | llama, 2 layers of width 5 |',
    `| SHA-256 of its weights | \`${'ab'.repeat(32)}\` |`,
    '| ran as | int8 |',
    '| template | "{text}\\nTopic:" |',
    '| longest sample | 32 tokens |',
    '| tapped layers | 1 2 |',
    '| tokens read | last, mean |',
    '| activations | 4 bits in groups of 64 |',
    '| learningRate | 0.001 |',
    '| test_accuracy | 0.625 |',
  ]) {
    assert.ok(card.split('\n').includes(line), `${line}\nin\n${card}`);
  }
  assert.match(card, /^---\nbase_model: /);
  assert.match(modelCard(CONFIG), /\| examples in front \| none \|/);
});

test('what names and templates hold does not break the card', () => {
  const card = modelCard({
    ...CONFIG,
    base_model: { ...CONFIG.base_model, name: "my models/it's: #1.gguf" },
    template: 'a|b {text}',
    training: { note: 'x|y\nz' },
  });
  const lines = card.split('\n');
  assert.ok(lines.includes(`base_model: "my models/it's: #1.gguf"`));
  assert.ok(
    lines.includes(
      `mobillm eval --model 'my models/it'\\''s: #1.gguf' --adapter-path . --data DIR`,
    ),
  );
  assert.ok(lines.includes('| template | "a\\|b {text}" |'));
  assert.ok(lines.includes('| note | x\\|y z |'));
});
