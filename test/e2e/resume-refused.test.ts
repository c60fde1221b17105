import assert from 'node:assert/strict';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BrokenJobs } from '../support/broken-jobs.ts';
import { assertFails, runCli, workspace } from '../support/cli.ts';
import { tinyModel, tinyRows } from '../support/tiny-model.ts';

/* What cannot be continued is refused by name; nothing begins anew unasked. */

const space = workspace();
after(() => space.remove());
const jobs = new BrokenJobs(space);

/** Breaks a job off, both ends keeping it. */
before(async () => {
  await jobs.serve();
  const device = await jobs.untilStep(5, 'job');
  device.child.kill('SIGINT');
  jobs.assertKept('job', await device.done, 130);
});

async function refused(code: number, says: RegExp, ...flags: string[]): Promise<void> {
  assertFails(await runCli(jobs.args('job', ...flags)), code, says);
  assert.ok(existsSync(jobs.partial('job')), 'and it is still kept');
}

test('a job of which something changed is refused, and what changed is named', async () => {
  const other = space.data('other', { train: tinyRows(96, { seed: 9 }) });
  const model = space.path('other.gguf');
  writeFileSync(model, tinyModel({ seed: 9 }));
  await Promise.all([
    refused(2, /E_RESUME.*--learning-rate changed: 0\.0005 then, 0\.001 now/, '--resume', ...RATE),
    refused(2, /E_RESUME.*the training rows \(--data\) changed; /, '--resume', '--data', other),
  ]);
  await Promise.all([
    refused(2, /E_RESUME.*the model \(--model\) changed; /, '--resume', '--model', model),
    refused(2, /E_RESUME.*--activation-bits changed: 4 then, 8 now/, ...BITS),
  ]);
});

const RATE = ['--learning-rate', '1e-3'];
const BITS = ['--resume', '--activation-bits', '8'];

test('without a flag a broken-off job is neither continued nor lost', async () => {
  await refused(2, /E_RESUME.*was broken off; --resume goes on with it, --restart drops it/);
  assertFails(
    await runCli(jobs.args('none', '--resume')),
    2,
    /E_RESUME.*none\.partial.*nothing is/,
  );
});

test('damage is seen, on either side', async () => {
  const file = jobs.partial('job');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/"step": \d+/, '"step": 7000'));
  await refused(2, /E_RESUME.*job\.json is damaged: its SHA-256 is another/, '--resume');
  writeFileSync(file, text);
  const checkpoint = join(jobs.stateDir, jobs.states()[0], 'checkpoint');
  const bytes = readFileSync(checkpoint);
  truncateSync(checkpoint, bytes.length - 1);
  await refused(5, /E_STATE.*checkpoint: it is cut short.*--restart/, '--resume');
  writeFileSync(checkpoint, bytes);
});

test('a server that lost the job says so; --restart begins anew', async () => {
  const [lost] = jobs.states();
  await jobs.server.stop();
  const { stateDir } = jobs;
  const empty = new BrokenJobs(space, space.path('elsewhere'));
  await empty.serve();
  assertFails(
    await runCli(empty.args('job', '--resume')),
    5,
    /E_JOB_UNKNOWN.*this server does not hold it: .*--state-dir.*--restart begins anew/,
  );
  await empty.run('job', '--restart');
  assert.ok(existsSync(join(stateDir, lost)), 'what another server keeps is not ours to remove');
  await empty.untilForgotten();
  assert.ok(!existsSync(jobs.partial('job')));
});
