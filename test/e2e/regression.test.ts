import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import type { RegressionScores } from '../../src/data/index.ts';
import {
  assertFails,
  type CliServer,
  runCli,
  SMALL_JOB,
  startServer,
  workspace,
} from '../support/cli.ts';
import { tinyRows } from '../support/tiny-model.ts';

/* A number for every text: how far down the alphabet its letters are, in a unit of its own. */

const space = workspace();
const numbered = (count: number, seed: number) =>
  tinyRows(count, { seed }).map(({ text }) => {
    const letters = [...text.replaceAll(' ', '')].map((letter) => letter.charCodeAt(0) - 97);
    const mean = letters.reduce((a, b) => a + b, 0) / letters.length;
    return { text, label: Number((1000 + 20 * mean).toFixed(2)) };
  });
const data = space.data('numbers', { train: numbered(120, 1), test: numbered(40, 2) });
const adapter = space.path('adapter');
let server: CliServer;
let report: TrainReport;

const trainArgs = (name: string, ...flags: string[]) => [
  ...['train', '--server', server.url, '--model', space.model, '--data', data, '--json'],
  ...['--adapter-path', space.path(name), ...SMALL_JOB, '--epochs', '12', ...flags],
];

before(async () => {
  server = await startServer();
  const trained = await runCli(trainArgs('adapter'));
  assert.equal(trained.code, 0, trained.stderr);
  report = JSON.parse(trained.stdout);
});
after(async () => {
  await server.stop();
  space.remove();
});

test('numbers are predicted better than by their mean, in their own unit', () => {
  assert.equal(report.task, 'regression');
  assert.deepEqual(report.dataset.classes, []);
  const { mean = 0, deviation = 0 } = report.dataset.numbers ?? {};
  assert.ok(mean > 1100 && mean < 1400 && deviation > 20, `${mean}, ${deviation}`);
  const before = report.before as RegressionScores;
  assert.equal(before.pearson, null);
  for (const name of ['parallel', 'probe', 'mix']) {
    const { rmse, pearson, spearman } = report.test[name] as RegressionScores;
    assert.ok(rmse < 0.8 * before.rmse, `${name}: ${rmse}, the mean has ${before.rmse}`);
    assert.ok((pearson ?? 0) > 0.6 && (spearman ?? 0) > 0.6, `${name}: ${pearson}`);
  }
  assert.deepEqual(Object.values(report.accuracy), [null, null, null, null]);
});

test('the adapter knows the unit; eval and predict speak in it', async () => {
  const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'));
  assert.deepEqual(config.labels, []);
  assert.ok(config.target.mean > 1100 && config.target.deviation > 20);
  assert.match(readFileSync(join(adapter, 'README.md'), 'utf8'), /It predicts a number/);
  const [evaluated, words, predicted, pictured] = await Promise.all([
    runCli(['eval', '--data', data, '--adapter-path', adapter, '--json']),
    runCli(['eval', '--data', data, '--adapter-path', adapter]),
    runCli(['predict', '--adapter-path', adapter, '--json', '--text', 'abcd abcd abcd']),
    runCli(['eval', '--data', data, '--adapter-path', adapter, '--confusion', space.path('x.svg')]),
  ]);
  const { rows, rmse, mae, pearson, spearman } = JSON.parse(evaluated.stdout);
  assert.deepEqual({ rows, rmse, mae, pearson, spearman }, report.test.parallel);
  assert.match(
    words.stdout,
    /^RMSE \d.*, mean absolute error .*, Pearson 0\.\d+, Spearman 0\.\d+ \(40 rows\);/,
  );
  const { value, label } = JSON.parse(predicted.stdout);
  assert.equal(label, undefined);
  assert.ok(value < config.target.mean && value > 900, `${value}`);
  assertFails(pictured, 2, /--confusion: the adapter predicts a number, there are no classes/);
});

test('the same adapter from its configuration; --task overrules what labels look like', async () => {
  const saved = join(adapter, 'config.yaml');
  assert.match(readFileSync(saved, 'utf8'), /^task: regression$/m);
  const again = space.path('again');
  const [repeated, classes, odd] = await Promise.all([
    runCli(['train', '--config', saved, '--adapter-path', again, '--json']),
    runCli([
      ...[
        'train',
        '--dry-run',
        '--data',
        space.data('ratings', {
          train: tinyRows(30).map(({ text }, i) => ({ text, label: (i % 3) + 0.5 })),
        }),
      ],
      ...['--model', space.model, '--task', 'classification', '--json'],
    ]),
    runCli([
      'train',
      '--dry-run',
      '--data',
      space.tiny,
      '--model',
      space.model,
      '--task',
      'regression',
    ]),
  ]);
  assert.equal(repeated.code, 0, repeated.stderr);
  const weights = (at: string) => readFileSync(join(at, 'adapter_model.safetensors'));
  assert.deepEqual(weights(again), weights(adapter));
  assert.equal(JSON.parse(classes.stdout).dataset.classes.length, 3);
  assertFails(odd, 3, /train\.jsonl:1: label "low" is no number, and numbers are to be predicted/);
});
