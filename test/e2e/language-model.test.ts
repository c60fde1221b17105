import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import { random } from '../../src/tensor/index.ts';
import { type CliServer, runCli, startServer, workspace } from '../support/cli.ts';

/*
 * A language model's tuning from end to end: rows, a server process, a device process, and the tuned
 * model used on the device alone.
 */

const space = workspace();

/** What a random model cannot know: a word, and the same word doubled. */
const words = (count: number, seed: number) => {
  const rng = random(seed);
  return Array.from({ length: count }, () => {
    const word = Array.from({ length: 2 }, () => 'abc'[rng.int(3)]).join('');
    return { prompt: `say ${word}`, completion: `${word} and ${word} again` };
  });
};
const data = space.data('words', { train: words(60, 1), valid: words(10, 2), test: words(12, 3) });
const FLAGS = ['--batch-size', '8', '--epochs', '6', '--rank', '16', '--layers', 'all'];
const adapter = space.path('adapter');
let server: CliServer;
let report: TrainReport;

const trainArgs = (name: string, ...flags: string[]) => [
  ...['train', '--server', server.url, '--model', space.model, '--data', data, '--json'],
  ...['--adapter-path', space.path(name), '--learning-rate', '1e-2', ...FLAGS, ...flags],
];

before(async () => {
  server = await startServer(['--state-dir', space.path('jobs')]);
  const trained = await runCli(trainArgs('adapter'));
  assert.equal(trained.code, 0, trained.stderr);
  report = JSON.parse(trained.stdout);
});
after(async () => {
  await server.stop();
  space.remove();
});

test('perplexity falls below the frozen model from which it starts', () => {
  assert.equal(report.task, 'lm');
  const [model] = report.server.models;
  const { startLoss = Number.NaN, validLoss } = model;
  assert.ok(validLoss < 0.7 * startLoss, `${startLoss} to ${validLoss}`);
  const test = report.test.parallel;
  assert.ok('perplexity' in test);
  assert.ok(test.perplexity < 0.5 * test.basePerplexity);
  // The server saw the validation rows in 4 bits, the device others as they are.
  const base = Math.log(test.basePerplexity);
  assert.ok(Math.abs(base / startLoss - 1) < 0.1, `${base} on the device, ${startLoss} there`);
});

test('eval gives the figures of the report; generate says what was learnt', async () => {
  const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'));
  assert.equal(config.task_type, 'CAUSAL_LM');
  const [evaluated, tuned, frozen] = await Promise.all([
    runCli(['eval', '--data', data, '--adapter-path', adapter, '--json']),
    runCli(['generate', '--adapter-path', adapter, '-p', 'say ab', '-n', '30', '--json']),
    runCli(['generate', '--model', space.model, '-p', 'say ab\n', '-n', '30', '--json']),
  ]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  const { rows, tokens, perplexity, basePerplexity } = JSON.parse(evaluated.stdout);
  assert.deepEqual({ rows, tokens, perplexity, basePerplexity }, report.test.parallel);
  assert.equal(tuned.code, 0, tuned.stderr);
  const [said, unsaid] = [tuned, frozen].map(({ stdout }) => JSON.parse(stdout).text as string);
  assert.match(said, /and|again/, JSON.stringify(said));
  assert.doesNotMatch(unsaid, /and|again/);
});
