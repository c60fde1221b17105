import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TrainedModelInfo } from '../../../src/cli/adapter-config.ts';
import { renderReport, type TrainReport } from '../../../src/cli/report.ts';

const info = (name: TrainedModelInfo['name'], parameters: number): TrainedModelInfo => ({
  name,
  bestEpoch: 2,
  epochs: 3,
  validAccuracy: 0.75,
  validLoss: 0.5,
  parameters,
  seconds: 1.25,
  bytes: 400,
});

const KINDS = {
  ...{ weights: 139e6, slots: 0, activations: 76e6, kv: 0, buffers: 7e6, runtime: 290e6 },
};

const PART = {
  ...{ rows: 1, duplicates: 0, contradictions: 0, alsoInTrain: 0 },
  ...{ tokens: 9, longest: 9, truncated: 0 },
};

const REPORT: TrainReport = {
  dataset: {
    classes: [{ label: 'a', train: 1, valid: 1, test: 1 }],
    train: PART,
    valid: PART,
    test: PART,
  },
  model: 'smollm2-135m',
  data: 'data/wordnet10',
  method: 'parallel',
  rows: { train: 800, valid: 100, test: 200 },
  task: 'classification',
  before: { rows: 200, correct: 20, accuracy: 0.1, macroF1: 0.018, matthews: 0 },
  accuracy: { majority: 0.1, probe: 0.612, mix: 0.655, side: 0.701 },
  test: {
    parallel: { rows: 200, correct: 140, accuracy: 0.701, macroF1: 0.69512, matthews: 0.6604 },
    probe: { rows: 200, correct: 122, accuracy: 0.612, macroF1: 0.6, matthews: 0.55 },
    mix: { rows: 200, correct: 131, accuracy: 0.655, macroF1: 0.64, matthews: 0.6 },
  },
  validation: { parallel: 0.75, probe: 0.75, mix: 0.75 },
  seconds: { wall: 83, device: 60.25, server: 20, hidden: 15 },
  bytes: { up: 7_350_000, down: 98_000 },
  ...{ labels: 'server', exchange: null, outputHead: null },
  memory: { devicePeakRss: 512e6, accounted: 215e6, kinds: KINDS },
  tokens: { computed: 21_000, prefix: 0, perSecond: 348.5, truncatedSamples: 0 },
  kernels: 'gemmQd8F32Qc8w',
  deviceBackend: 'wasm (relaxed)',
  serverBackend: 'wasm (simd128)',
  server: {
    cache: { memory: 1000, spilled: 0 },
    models: [info('parallel', 1_234_567), info('probe', 11_530), info('mix', 11_545)],
  },
  randomBackbone: false,
  adapterPath: 'adapters/x',
};

/** The row of a table that begins with this cell, its cells joined. */
const rowOf = (text: string, first: string) => {
  const cells = text
    .split('\n')
    .map((line) =>
      line
        .split('│')
        .map((cell) => cell.trim())
        .filter(Boolean),
    )
    .find(([cell]) => cell === first);
  return cells?.slice(1).join(' | ');
};

describe('renderReport', () => {
  const text = renderReport(REPORT);

  it('compares the side network with what it has to beat', () => {
    assert.equal(rowOf(text, 'majority class (before)'), '10.0% | 0.018 | 0.000 | - | 0 | -');
    assert.equal(
      rowOf(text, 'linear probe, last layer'),
      '61.2% | 0.600 | 0.550 | 75.0% | 11,530 | 1.3 s',
    );
    assert.equal(rowOf(text, 'layer mix'), '65.5% | 0.640 | 0.600 | 75.0% | 11,545 | 1.3 s');
    assert.equal(
      rowOf(text, 'parallel side network (after)'),
      '70.1% | 0.695 | 0.660 | 75.0% | 1,234,567 | 1.3 s',
    );
  });

  it('says what it took', () => {
    assert.equal(rowOf(text, 'data'), 'data/wordnet10: 800 train, 100 valid, 200 test');
    assert.equal(rowOf(text, 'wall clock'), '1:23');
    assert.equal(rowOf(text, 'device computing'), '60.3 s, 21000 tokens at 349/s');
    assert.equal(rowOf(text, 'server training'), '20.0 s, 75% of it hidden behind the device');
    assert.equal(rowOf(text, 'bytes up, down'), '7.35 MB, 98.0 kB');
    assert.equal(
      rowOf(text, 'device memory'),
      '512.0 MB peak resident: 290.0 MB runtime, 139.0 MB weights, 76.0 MB activations, 7.00 MB buffers',
    );
    assert.equal(rowOf(text, 'examples in front'), undefined);
    assert.equal(rowOf(text, 'cut to --max-seq-length'), undefined);
  });

  it('marks a control, names what was cut, and leaves out what was not trained', () => {
    const { models } = REPORT.server;
    const control = renderReport({
      ...REPORT,
      randomBackbone: true,
      before: null,
      accuracy: { majority: null, probe: null, mix: null, side: null },
      seconds: { ...REPORT.seconds, server: 0, hidden: 0 },
      tokens: { ...REPORT.tokens, prefix: 120, truncatedSamples: 3 },
      server: { ...REPORT.server, models: models.slice(0, 1) },
    });
    assert.equal(rowOf(control, 'model'), 'smollm2-135m, RANDOM weights (control)');
    assert.equal(rowOf(control, 'majority class (before)'), '- | - | - | - | 0 | -');
    assert.equal(rowOf(control, 'linear probe, last layer'), undefined);
    assert.equal(rowOf(control, 'server training'), '0.0 s, 0% of it hidden behind the device');
    assert.equal(rowOf(control, 'examples in front'), '120 tokens, run once');
    assert.equal(rowOf(control, 'cut to --max-seq-length'), '3 samples');
  });

  it('has columns of its own for numbers', () => {
    const numbers = (rmse: number, pearson: number | null) => ({
      ...{ rows: 200, rmse, mae: rmse, pearson, spearman: pearson },
    });
    const regression = renderReport({
      ...REPORT,
      task: 'regression',
      dataset: {
        ...REPORT.dataset,
        numbers: { mean: 2.5, deviation: 2, smallest: 0, largest: 5 },
      },
      before: numbers(1.5, null),
      accuracy: { majority: null, probe: null, mix: null, side: null },
      test: { parallel: numbers(0.75432, 0.81), probe: numbers(1, 0.5) },
      server: {
        ...REPORT.server,
        models: REPORT.server.models.map((model) => ({
          ...model,
          validAccuracy: null,
          validLoss: 0.25,
        })),
      },
    });
    assert.equal(
      rowOf(regression, 'method'),
      'test RMSE | Pearson | Spearman | validation | parameters | server time',
    );
    assert.equal(rowOf(regression, 'mean of the labels (before)'), '1.5 | - | - | - | 0 | -');
    assert.equal(
      rowOf(regression, 'linear probe, last layer'),
      '1 | 0.500 | 0.500 | 1 | 11,530 | 1.3 s',
    );
    assert.equal(
      rowOf(regression, 'parallel side network (after)'),
      '0.7543 | 0.810 | 0.810 | 1 | 1,234,567 | 1.3 s',
    );
  });

  it('shows a baseline that was the job itself once', () => {
    const probe = renderReport({
      ...REPORT,
      method: 'probe',
      server: { ...REPORT.server, models: [info('probe', 11_530)] },
    });
    assert.equal(probe.match(/probe/g)?.length, 1);
  });
});
