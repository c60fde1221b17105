import assert from 'node:assert/strict';
import { it } from 'node:test';
import { renderData, reportData } from '../../../src/cli/data-report.ts';
import type { Dataset, Sample } from '../../../src/data/index.ts';

const survey = (samples: readonly Sample[]) => ({
  samples: samples.length,
  tokens: samples.reduce((n, { text }) => n + text.length, 0),
  longest: Math.max(...samples.map(({ text }) => text.length)),
  truncated: samples.filter(({ text }) => text.length > 5).length,
});

const row = (text: string, label: string) => ({ text, label });
const DATA: Dataset = {
  folder: 'dir',
  task: 'classification',
  labels: ['a, b', 'c'],
  pairs: false,
  train: [row('one', 'a, b'), row('two', 'c'), row('one', 'c'), row('longest', 'c')],
  valid: [row('four', 'c')],
  validFromTrain: false,
  test: [row('two', 'c'), row('longest', 'a, b')],
};

it('says how classes are balanced, what is cut and what stands there twice', async () => {
  const report = await reportData(DATA, survey);
  assert.deepEqual(report.classes, [
    { label: 'a, b', train: 1, valid: 0, test: 1 },
    { label: 'c', train: 3, valid: 1, test: 1 },
  ]);
  assert.deepEqual(report.train, {
    ...{ rows: 4, duplicates: 1, contradictions: 1, alsoInTrain: 0 },
    ...{ tokens: 16, longest: 7, truncated: 1 },
  });
  assert.equal(
    renderData(report, 5),
    `data: 4 train, 1 valid, 2 test rows, 2 classes
      classes of train: a, b 1, c 3
      tokens: 30, the longest sample 7; cut to --max-seq-length 5: 1 of train, 1 of test
      of train: 1 repeat an earlier row, 1 under another label
      of test: 2 stand in train, too`,
  );
});

it('names the extremes of many classes, and leaves a missing test out', async () => {
  const labels = Array.from({ length: 30 }, (_, i) => `class ${i}`);
  const train = labels.flatMap((label, i) =>
    Array.from({ length: i + 1 }, (_, k) => row(`${label} ${k}`, label)),
  );
  const report = await reportData(
    { ...DATA, labels, train, valid: [row('x', 'class 1')], test: undefined },
    (samples) => ({ ...survey(samples), truncated: 0 }),
  );
  assert.equal(report.test, null);
  const text = renderData(report, 256);
  assert.match(text, /465 train, 1 valid rows, 30 classes\n/);
  assert.match(text, /1 \(class 0\) to 30 \(class 29\) rows each, median 16\n/);
  assert.match(text, /; none is cut$/);
});
