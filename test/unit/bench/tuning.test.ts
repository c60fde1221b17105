import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fullMarkdown, loraMarkdown } from '../../../bench/peers/tuning-report.ts';
import { fullFlags, labelProblem, lmProblem, loraFlags } from '../../../bench/tuning.ts';
import { epochBatches } from '../../../src/data/index.ts';
import { runCli, workspace } from '../../support/cli.ts';

const space = workspace();
const rows = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ prompt: `say ${i}`, completion: `it is ${i} again` }));

test('PyTorch gets the tokens, the loss mask and the batches that train takes', async () => {
  const data = space.data('lm', { train: rows(7), valid: rows(3) });
  const flags = ['--data', data, '--model', space.model, '--max-seq-length', '12'];
  const problem = await lmProblem(
    loraFlags([...flags, '--batch-size', '2', '--epochs', '1,3', '--search-rows', '4']),
  );
  assert.equal(problem.gguf, space.model);
  assert.equal(problem.valid.length, 3);
  assert.deepEqual(
    problem.batches,
    [0, 1, 2].map((epoch) => epochBatches({ count: 7, batchSize: 2, seed: 0, epoch })),
  );
  assert.deepEqual(
    problem.searchBatches.flat().sort(),
    [0, 1, 2, 3],
    'a rate is tried on the first rows',
  );

  const shown = await runCli([
    ...['preprocess', data, '--model', space.model, '--max-seq-length', '12'],
    ...['--debug', '--samples', '7', '--json'],
  ]);
  assert.equal(shown.code, 0, shown.stderr);
  const { samples } = JSON.parse(shown.stdout) as {
    samples: { row: number; ids: number[]; loss: boolean[] }[];
  };
  assert.equal(samples.length, problem.train.length);
  for (const { row, ids, loss } of samples) assert.deepEqual(problem.train[row], { ids, loss });
});

test('a classifier in PyTorch gets the chosen rows in their prompt, those for validation among all', async () => {
  const labelled = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ text: `text ${i}`, label: i % 2 ? 'odd' : 'even' }));
  const data = space.data('labels', { train: labelled(60), test: labelled(20) });
  const problem = await labelProblem(
    fullFlags([
      ...['--data', data, '--model', space.model, '--rows', '40', '--test-rows', '6'],
      ...['--seeds', '3,4', '--epochs', '2', '--template', '{text} is'],
    ]),
  );
  assert.equal(problem.classes, 2);
  assert.equal(problem.all.length, 40);
  assert.deepEqual(problem.all, [...problem.train, ...problem.valid]);
  assert.equal(problem.test.length, 6);
  assert.equal(problem.batches.length, 2, 'of every seed');
  const seen = (epochs: readonly number[][][]) => epochs.map((epoch) => new Set(epoch.flat()).size);
  assert.deepEqual(problem.batches.map(seen), [
    [40, 40],
    [40, 40],
  ]);
  const { length } = problem.train;
  assert.deepEqual(seen(problem.searchBatches), [length, length], 'rates: without those');
});

test('results become tables', () => {
  const end = { epoch: 2, seconds: 61.4, tokens: 900 };
  const lora = loraMarkdown({
    ...{ versions: { torch: '2' }, frozen: 4.5, lossTokens: 70 },
    search: [{ rate: 1e-3, perplexity: 3.25 }],
    runs: [{ epochs: 3, rate: 1e-3, samples: 12, parameters: 8, best: { ...end, perplexity: 3 } }],
  });
  assert.match(lora, /rates tried, validation perplexity: 0\.001: 3\.250\n/);
  assert.match(lora, /\| frozen \| 0 \| 0 \| 0 \| 0 \| 4\.500 \|\n/);
  assert.match(lora, /at 0\.001, best after 2 \| 12 \| 8 \| 900 \| 61 \| 3\.000 \|$/);
  const full = fullMarkdown({
    ...{ versions: { torch: '2' }, rate: 1e-5, mean: 0.75, deviation: 0.01 },
    search: [{ rate: 1e-5, accuracy: 0.7 }],
    runs: [{ seed: 0, test: { accuracy: 0.75 }, end }],
  });
  assert.match(full, /validation accuracy: 0\.00001: 70\.0%; 0\.00001 was taken\n/);
  assert.match(full, /\| mean \| 75\.0% ± 1\.0% \| \|$/);
});
