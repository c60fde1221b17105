import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokenJobs } from '../support/broken-jobs.ts';
import { workspace } from '../support/cli.ts';

/*
 * A job goes on after either end was stopped, or the device died when all was ready for it, and
 * gives the adapter of one that was never disturbed, to the bit. An epoch has 11 steps.
 */

const LATER_EPOCH = 15;

const space = workspace();
after(() => space.remove());
const jobs = new BrokenJobs(space);
/** Of a job that ran through. */
let expected: Map<string, string>;

before(async () => {
  await jobs.serve();
  await jobs.run('through');
  expected = jobs.files('through');
});

test('Ctrl-C on the device, then on the server, saves', async () => {
  const first = await jobs.untilStep(5, 'stopped');
  first.child.kill('SIGINT');
  jobs.assertKept('stopped', await first.done, 130);

  // No checkpoint falls due in between: what is there was saved by the signal.
  const second = await jobs.untilStep(LATER_EPOCH, 'stopped', '--resume', '--save-every', '10');
  const before = jobs.resumedFrom;
  assert.ok(before >= 5, `from step ${before}`);
  assert.equal((await jobs.server.stop('SIGINT')).code, 0);
  jobs.assertKept('stopped', await second.done, 5);

  await jobs.serve();
  await jobs.run('stopped', '--resume');
  assert.ok(jobs.resumedFrom > before + 10, `from step ${jobs.resumedFrom}, ${before} before`);
  await jobs.assertFinished('stopped', expected);
});

test('the device is killed while the server has its adapter ready', async () => {
  const device = await jobs.untilStep(LATER_EPOCH, 'late');
  // It has sent its rows; from here on it only waits.
  device.child.kill('SIGSTOP');
  await jobs.untilLogged('job trained');
  device.child.kill('SIGKILL');
  jobs.assertKept('late', await device.done, null);
  await jobs.run('late', '--resume');
  await jobs.assertFinished('late', expected);
});
