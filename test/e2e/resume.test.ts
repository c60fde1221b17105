import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokenJobs } from '../support/broken-jobs.ts';
import { runCli, workspace } from '../support/cli.ts';

/*
 * A job goes on after either process died, wherever it was, and gives the adapter of one that was
 * never disturbed, to the bit. An epoch has 11 steps.
 */

const LATER_EPOCH = 15;

const space = workspace();
after(() => space.remove());
const jobs = new BrokenJobs(space);
/** Of a job that ran through. */
let expected: Map<string, string>;

before(async () => {
  await jobs.serve();
});

test('two jobs at once on a server that keeps them: each as if alone', async () => {
  const [through, other] = await Promise.all([
    runCli(jobs.args('through')),
    runCli(jobs.args('other', '--seed', '4')),
  ]);
  assert.equal(through.code, 0, through.stderr);
  assert.equal(other.code, 0, other.stderr);
  expected = jobs.files('through');
  assert.deepEqual([...expected.keys()], ['adapter_config.json', 'adapter_model.safetensors']);
  assert.notDeepEqual(jobs.files('other'), expected);
  await jobs.assertFinished('through', expected);
});

test('server and device are killed, in epoch 1 and later', async () => {
  const first = await jobs.untilStep(5, 'killed');
  await jobs.server.stop('SIGKILL');
  jobs.assertKept('killed', await first.done, 5);

  await jobs.serve();
  const second = await jobs.untilStep(8, 'killed', '--resume');
  assert.ok(jobs.resumedFrom >= 5, `from step ${jobs.resumedFrom}`);
  second.child.kill('SIGKILL');
  jobs.assertKept('killed', await second.done, null);

  const third = await jobs.untilStep(LATER_EPOCH, 'killed', '--resume');
  assert.ok(jobs.resumedFrom >= 8, `from step ${jobs.resumedFrom}`);
  await jobs.server.stop('SIGKILL');
  jobs.assertKept('killed', await third.done, 5);

  await jobs.serve();
  await jobs.run('killed', '--resume');
  assert.ok(jobs.resumedFrom >= LATER_EPOCH, `from step ${jobs.resumedFrom}`);
  await jobs.assertFinished('killed', expected);
});
