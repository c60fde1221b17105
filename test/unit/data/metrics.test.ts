import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import {
  classificationScores,
  classScores,
  confusionCells,
  pearson,
  ranks,
  regressionScores,
} from '../../../src/data/index.ts';

/** Written by scripts/make-metrics-fixture.py. */
const FIXTURE = JSON.parse(
  readFileSync(new URL('../../fixtures/metrics.json', import.meta.url), 'utf8'),
) as {
  classification: {
    classes: number;
    labels: number[];
    predicted: number[];
    accuracy: number;
    macroF1: number;
    matthews: number;
    precision: number[];
    recall: number[];
    f1: number[];
    confusion: number[][];
  }[];
  regression: {
    labels: number[];
    predicted: number[];
    rmse: number;
    mae: number;
    pearson: number;
    spearman: number;
  }[];
};

/** Both sides compute in f64, in different orders. */
const ROUNDING = 1e-12;

function near(actual: number | null, expected: number, what: string): void {
  assert.ok(
    actual !== null && Math.abs(actual - expected) <= ROUNDING * Math.max(1, Math.abs(expected)),
    `${what}: ${actual}, not ${expected}`,
  );
}

describe('metrics, as scikit-learn and SciPy have them', () => {
  FIXTURE.classification.forEach((known, i) => {
    it(`classification ${i}`, () => {
      const { labels, predicted, classes } = known;
      const scores = classificationScores(labels, predicted, classes);
      for (const name of ['accuracy', 'macroF1', 'matthews'] as const) {
        near(scores[name], known[name], name);
      }
      classScores(labels, predicted, classes).forEach((score, c) => {
        for (const name of ['precision', 'recall', 'f1'] as const) {
          near(score[name], known[name][c], `${name} of ${c}`);
        }
      });
      const matrix = known.confusion.map((row) => row.map(() => 0));
      for (const cell of confusionCells(labels, predicted)) {
        matrix[cell.label][cell.predicted] = cell.rows;
      }
      assert.deepEqual(matrix, known.confusion);
    });
  });
  FIXTURE.regression.forEach((known, i) => {
    it(`regression ${i}`, () => {
      const scores = regressionScores(known.labels, known.predicted);
      assert.equal(scores.rows, known.labels.length);
      for (const name of ['rmse', 'mae', 'pearson', 'spearman'] as const) {
        near(scores[name], known[name], name);
      }
    });
  });
});

describe('metrics at their edges', () => {
  it('one class, one row', () => {
    assert.deepEqual(classificationScores([0], [0], 1), {
      rows: 1,
      correct: 1,
      accuracy: 1,
      macroF1: 1,
      matthews: 0,
    });
  });

  it('ten thousand classes', () => {
    const classes = 10_000;
    const labels = Array.from({ length: 20_000 }, (_, i) => i % classes);
    const predicted = labels.map((label, i) => (i < classes ? label : (label + 1) % classes));
    const scores = classificationScores(labels, predicted, classes);
    assert.equal(scores.accuracy, 0.5);
    near(scores.macroF1, 0.5, 'macro-F1');
    assert.equal(confusionCells(labels, predicted).length, 20_000);
  });

  it('what is constant correlates with nothing, however it is rounded', () => {
    assert.equal(pearson([0.1, 0.1, 0.1], [1, 2, 3]), null);
    assert.equal(pearson([1, 2, 3], [1e9 / 3, 1e9 / 3, 1e9 / 3]), null);
    assert.equal(pearson([5], [5]), null);
    assert.equal(regressionScores([1, 2], [4, 4]).spearman, null);
  });

  it('equal values share their mean rank', () => {
    assert.deepEqual([...ranks([10, 20, 10, 5, 10])], [3, 5, 3, 1, 3]);
    assert.deepEqual([...ranks([])], []);
  });

  it('refuses no rows, and another number of predictions', () => {
    for (const call of [
      () => classificationScores([], [], 2),
      () => classScores([0], [0, 1], 2),
      () => confusionCells([0, 1], [0]),
      () => regressionScores([], []),
      () => pearson([1, 2], [1]),
    ]) {
      assert.throws(call, { code: 'E_USAGE' });
    }
  });
});
