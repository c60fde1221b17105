import assert from 'node:assert/strict';
import { it } from 'node:test';
import { classCounts, summarizeData } from '../../../src/data/index.ts';

const row = (text: string, label: string, textPair?: string) => ({ text, label, textPair });

it('sums up balance, rows that stand there twice, and rows of training among the others', () => {
  const summary = summarizeData({
    folder: 'dir',
    task: 'classification',
    labels: ['a', 'b', 'c'],
    pairs: false,
    train: [row('1', 'a'), row('2', 'b'), row('1', 'a'), row('1', 'b'), row('3', 'c')],
    valid: [row('1', 'a'), row('9', 'a')],
    validFromTrain: false,
    test: [row('2', 'c'), row('2', 'c'), row('1', 'a', 'pair')],
  });
  assert.deepEqual(summary, {
    train: { rows: 5, classes: [2, 2, 1], duplicates: 2, contradictions: 1, alsoInTrain: 0 },
    valid: { rows: 2, classes: [2, 0, 0], duplicates: 0, contradictions: 0, alsoInTrain: 1 },
    test: { rows: 3, classes: [1, 0, 2], duplicates: 1, contradictions: 0, alsoInTrain: 2 },
  });
});

it('counts classes of any name', () => {
  const rows = ['__proto__', 'a', '__proto__', 'odd'].map((label) => ({ label }));
  assert.deepEqual(classCounts(rows, ['__proto__', 'a', 'b']), [2, 1, 0]);
});
