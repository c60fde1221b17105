import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  classificationScores,
  confusionCells,
  pearson,
  regressionScores,
} from '../../../src/data/index.ts';

/** Sums of some dozens of f64 numbers in another order. */
const ROUNDING = 1e-9;

const near = (a: number | null, b: number | null) =>
  assert.ok(a === b || Math.abs((a as number) - (b as number)) <= ROUNDING, `${a} is not ${b}`);

/** Labels and predictions of up to six classes. */
const classified = fc.integer({ min: 1, max: 6 }).chain((classes) => {
  const index = fc.nat(classes - 1);
  return fc.record({
    classes: fc.constant(classes),
    pairs: fc.array(fc.tuple(index, index), { minLength: 1, maxLength: 60 }),
  });
});

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** Pearson's correlation of one-hot rows summed over classes: Matthews' by its definition. */
function matthewsByDefinition(pairs: readonly (readonly number[])[], classes: number): number {
  const covariance = (x: number, y: number) => {
    let sum = 0;
    for (let k = 0; k < classes; k++) {
      const a = pairs.map((pair) => (pair[x] === k ? 1 : 0) as number);
      const b = pairs.map((pair) => (pair[y] === k ? 1 : 0) as number);
      sum += mean(a.map((value, i) => (value - mean(a)) * (b[i] - mean(b))));
    }
    return sum;
  };
  const spread = covariance(0, 0) * covariance(1, 1);
  return spread <= ROUNDING ? 0 : covariance(0, 1) / Math.sqrt(spread);
}

describe('metrics by their definitions', () => {
  it('of classes', () => {
    fc.assert(
      fc.property(classified, ({ classes, pairs }) => {
        const labels = pairs.map(([label]) => label);
        const predicted = pairs.map(([, guess]) => guess);
        const scores = classificationScores(labels, predicted, classes);
        const f1: number[] = [];
        for (let k = 0; k < classes; k++) {
          const hits = pairs.filter(([l, p]) => l === k && p === k).length;
          const precision = hits / predicted.filter((p) => p === k).length;
          const recall = hits / labels.filter((l) => l === k).length;
          if (Number.isNaN(precision) && Number.isNaN(recall)) continue;
          f1.push(hits === 0 ? 0 : (2 * precision * recall) / (precision + recall));
        }
        near(scores.accuracy, mean(pairs.map(([l, p]) => (l === p ? 1 : 0))));
        near(scores.macroF1, mean(f1));
        near(scores.matthews, matthewsByDefinition(pairs, classes));
        const cells = confusionCells(labels, predicted);
        for (const { label, predicted: guess, rows } of cells) {
          assert.equal(rows, pairs.filter(([l, p]) => l === label && p === guess).length);
        }
        assert.equal(
          cells.reduce((n, { rows }) => n + rows, 0),
          pairs.length,
        );
      }),
    );
  });

  it('of classes: exchanging two names changes nothing', () => {
    fc.assert(
      fc.property(classified, ({ classes, pairs }) => {
        const other = (k: number) => (k === 0 ? classes - 1 : k === classes - 1 ? 0 : k);
        const of = (rename: (k: number) => number) =>
          classificationScores(
            pairs.map(([l]) => rename(l)),
            pairs.map(([, p]) => rename(p)),
            classes,
          );
        const [plain, renamed] = [of((k) => k), of(other)];
        for (const name of ['accuracy', 'macroF1', 'matthews'] as const) {
          near(plain[name], renamed[name]);
        }
      }),
    );
  });

  const values = fc.array(
    fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: -9, max: 9 })),
    {
      minLength: 1,
      maxLength: 40,
    },
  );

  it('of numbers', () => {
    fc.assert(
      fc.property(values, (pairs) => {
        const [a, b] = [pairs.map(([x]) => x / 4), pairs.map(([, y]) => y / 4)];
        const scores = regressionScores(a, b);
        near(scores.rmse ** 2, mean(a.map((x, i) => (x - b[i]) ** 2)));
        near(scores.mae, mean(a.map((x, i) => Math.abs(x - b[i]))));
        const dot = (u: readonly number[], v: readonly number[]) => mean(u.map((x, i) => x * v[i]));
        const covariance = (u: readonly number[], v: readonly number[]) =>
          dot(u, v) - mean(u) * mean(v);
        const spread = covariance(a, a) * covariance(b, b);
        if (spread <= ROUNDING) assert.equal(scores.pearson, null);
        else near(scores.pearson, covariance(a, b) / Math.sqrt(spread));
        // A rank: how many are smaller, plus half of those that are equal.
        const rank = (list: readonly number[]) =>
          list.map(
            (x) => list.filter((y) => y < x).length + (list.filter((y) => y === x).length + 1) / 2,
          );
        near(scores.spearman, pearson(rank(a), rank(b)));
      }),
    );
  });

  it('of numbers: correlations do not see unit and zero, Spearman only the order', () => {
    fc.assert(
      fc.property(values, (pairs) => {
        const [a, b] = [pairs.map(([x]) => x), pairs.map(([, y]) => y)];
        const plain = regressionScores(a, b);
        const scaled = b.map((y) => 3 * y + 100);
        near(regressionScores(a, scaled).pearson, plain.pearson);
        const bent = b.map((y) => y ** 3);
        near(regressionScores(a, bent).spearman, plain.spearman);
      }),
    );
  });
});
