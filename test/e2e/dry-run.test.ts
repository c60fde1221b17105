import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, test } from 'node:test';
import type { DryRun } from '../../src/cli/dry-run.ts';
import type { TrainReport } from '../../src/cli/report.ts';
import { assertFails, runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';

const space = workspace();
after(() => space.remove());

/** What the estimate leaves out of a job's bytes: keys of JOB, clock and credit, as a share. */
const UP_SHARE = 0.02;
/** How long the last training is turns out only then; the estimate takes it to be all epochs. */
const DOWN_SHARE = 0.3;

const args = (name: string, ...flags: string[]) => [
  ...['train', '--model', space.model, '--data', space.tiny, '--json'],
  ...['--adapter-path', space.path(name), ...SMALL_JOB, ...flags],
];

function near(actual: number, estimate: number, share: number): void {
  assert.ok(Math.abs(actual - estimate) <= share * actual, `${estimate} for ${actual}`);
}

test('what a dry run says is what a run does', async () => {
  const shots = ['--prefix-shots', '3', '--max-seq-length', '14'];
  const dry = await runCli(args('none', '--dry-run', ...shots));
  assert.equal(dry.code, 0, dry.stderr);
  assert.equal(dry.stderr, '');
  assert.ok(!existsSync(space.path('none')), 'nothing is written');
  const plan = JSON.parse(dry.stdout) as DryRun;

  const server = await startServer();
  const trained = await runCli(args('made', '--server', server.url, ...shots));
  await server.stop();
  assert.equal(trained.code, 0, trained.stderr);
  const report = JSON.parse(trained.stdout) as TrainReport;
  assert.deepEqual(plan.dataset, report.dataset);
  assert.equal(plan.dataset.train.rows, 54);
  assert.ok(report.dataset.train.truncated > 0);
  const { train, valid, test: tested } = report.dataset;
  assert.equal(
    report.tokens.truncatedSamples <= train.truncated + valid.truncated + (tested?.truncated ?? 0),
    true,
  );
  assert.equal(plan.plan.prefixTokens, report.tokens.prefix);
  assert.deepEqual(
    plan.models,
    report.server.models.map(({ name, parameters }) => ({ name, parameters })),
  );
  assert.equal(plan.memory.serverCache, report.server.cache.memory);
  near(report.bytes.up, plan.traffic.up.total, UP_SHARE);
  near(report.bytes.down, plan.traffic.downAbout, DOWN_SHARE);
  assert.deepEqual(plan.steps, { perEpoch: 7, total: 28, refitAtMost: 32 });
});

test('in words, without a server; what is wrong is found all the same', async () => {
  const words = args('none', '--dry-run').filter((arg) => arg !== '--json');
  const shown = await runCli(words);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /data: 54 train, 6 valid, 30 test rows, 3 classes\n/);
  assert.match(shown.stdout, /classes of train: high 18, low 18, middle 18\n/);
  assert.match(
    shown.stdout,
    /│ sent of a sample │ last and mean of layers 1 2 3, 4 bits a value +│/,
  );
  assert.match(shown.stdout, /│ bytes up +│ \d.* in epoch 1 .*; later epochs send nothing +│/);
  assert.match(shown.stdout, /nothing was run or sent: --dry-run\n$/);
  assertFails(await runCli(args('none', '--dry-run', '--layers', '1,99')), 2, /--layers: 99 given/);
  assertFails(await runCli(args('none')), 2, /--server is missing/);
});
