import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import type { ClassificationScores } from '../../src/data/index.ts';
import { assertFails, runCli, startServer, workspace } from '../support/cli.ts';

/* A head of ten thousand classes, one row each. */

const CLASSES = 10_000;
const space = workspace();
after(() => space.remove());

const rows = Array.from({ length: CLASSES }, (_, i) => ({
  text: i.toString(36),
  label: `intent ${i}`,
}));
const data = space.data('many', {
  train: rows,
  valid: rows.slice(0, 40),
  test: [rows[0], rows[1], rows[CLASSES - 1]],
});

test('ten thousand classes are trained, measured and predicted', async () => {
  const server = await startServer();
  const adapter = space.path('adapter');
  const trained = await runCli([
    ...['train', '--server', server.url, '--model', space.model, '--data', data, '--json'],
    ...['--adapter-path', adapter, '--no-baselines', '--template', '{text}', '--layers', 'last'],
    ...['--taps', 'last', '--batch-size', '500', '--epochs', '1', '--rank', '2'],
  ]);
  await server.stop();
  assert.equal(trained.code, 0, trained.stderr);
  const report = JSON.parse(trained.stdout) as TrainReport;
  assert.equal(report.dataset.classes.length, CLASSES);
  const { accuracy, macroF1, matthews } = report.test.parallel as ClassificationScores;
  for (const score of [accuracy, macroF1, matthews]) assert.ok(Number.isFinite(score));
  assert.ok(readFileSync(`${adapter}/README.md`, 'utf8').length < 20_000, 'the card names some');
  const [evaluated, predicted, pictured] = await Promise.all([
    runCli(['eval', '--data', data, '--adapter-path', adapter, '--json']),
    runCli(['predict', '--adapter-path', adapter, '--json', '--text', '7ps']),
    runCli([
      ...['eval', '--data', data, '--adapter-path', adapter],
      ...['--confusion', space.path('x.svg')],
    ]),
  ]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  assert.equal(JSON.parse(evaluated.stdout).accuracy, accuracy);
  assert.match(JSON.parse(predicted.stdout).label, /^intent \d+$/);
  assertFails(pictured, 2, /--confusion: 10000 classes, a picture holds at most 500/);
});
