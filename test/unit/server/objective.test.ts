import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { objectives, rowScores } from '../../../src/server/objective.ts';
import { cpuBackend, tensor, valueAndGrad } from '../../../src/tensor/index.ts';

const backend = cpuBackend();

/** f32 against the same by hand in f64. */
const CLOSE = 1e-6;
const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < CLOSE, `${a} is not ${b}`);

describe('regression', () => {
  const { regression } = objectives;
  const labels = [0.5, -1, 2];
  const outputs = () => tensor(Float32Array.of(1, -1, 0), [3, 1], { backend });

  it('is the mean squared error of one output a row, with its derivative', () => {
    const targets = regression.targets(labels, backend);
    const { value, grads } = valueAndGrad((o: ReturnType<typeof outputs>) =>
      regression.loss(o, targets, 0),
    )(outputs());
    near(value.item(), (0.25 + 0 + 4) / 3);
    // 2 (output - label) / n.
    [1 / 3, 0, -4 / 3].forEach((expected, i) => {
      near(grads.toFloat32()[i], expected);
    });
  });

  it('compares epochs by loss, and knows how sure that is', () => {
    const rows = rowScores(
      regression.rowValues(outputs(), regression.targets(labels, backend)),
      labels,
    );
    const { validLoss, validAccuracy, validError } = regression.scoreEpoch(rows);
    assert.equal(validAccuracy, null);
    near(validLoss, 4.25 / 3);
    const m = 4.25 / 3;
    const variance = ((0.25 - m) ** 2 + m ** 2 + (4 - m) ** 2) / 3;
    near(validError, Math.sqrt(variance / 3));
  });
});

describe('classification', () => {
  const { classification } = objectives;

  it('compares epochs by accuracy, whose error is that of a share', () => {
    const logits = tensor(Float32Array.of(2, 0, 0, 2, 1, 0), [3, 2], { backend });
    const rows = rowScores(
      classification.rowValues(logits, classification.targets([0, 1, 1], backend)),
      [0, 1, 1],
    );
    assert.deepEqual(
      rows.map(({ correct }) => correct),
      [true, true, false],
    );
    const { validLoss, validAccuracy, validError } = classification.scoreEpoch(rows);
    assert.equal(validAccuracy, 2 / 3);
    near(validError, Math.sqrt(2 / 9 / 3));
    near(validLoss, (2 * Math.log1p(Math.exp(-2)) + Math.log1p(Math.exp(1))) / 3);
  });
});
