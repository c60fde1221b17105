import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import { assertFails, runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';

const space = workspace();
after(() => space.remove());

/** Flags of each side network and head that other tests do not train, and the method they come to. */
const METHODS = {
  ladder: ['--side', 'ladder', '--head', 'gated'],
  'quantized-side': ['--side', 'quantized-side'],
  kernel: ['--head', 'kernel', '--taps', 'last,template'],
};

test('every side network comes back as a folder with a card, which eval and predict take', async () => {
  const server = await startServer();
  for (const [method, flags] of Object.entries(METHODS)) {
    const adapter = space.path(method);
    const trained = await runCli([
      ...['train', '--server', server.url, '--model', space.model, '--data', space.tiny],
      ...['--adapter-path', adapter, '--no-baselines', '--json', ...SMALL_JOB, ...flags],
    ]);
    assert.equal(trained.code, 0, trained.stderr);
    const report = JSON.parse(trained.stdout) as TrainReport;
    assert.equal(report.method, method);
    const { side } = report.accuracy;
    assert.ok(side !== null && side > 0.6, `${method} learned nothing: ${side}`);
    const evaluated = await runCli([
      'eval',
      '--data',
      space.tiny,
      '--adapter-path',
      adapter,
      '--json',
    ]);
    assert.equal(evaluated.code, 0, evaluated.stderr);
    assert.equal(JSON.parse(evaluated.stdout).accuracy, side);
    const one = ['predict', '--adapter-path', adapter, '--text', 'aa'];
    assert.equal((await runCli(one)).code, 0);
    const card = readFileSync(join(adapter, 'README.md'), 'utf8');
    assert.ok(card.includes(`# ${method} side network for `), card);
  }
  await server.stop();
});

test('a solved head has no side network before it, and writes no text', async () => {
  const job = ['train', '--dry-run', '--model', space.model, '--data', space.tiny];
  const both = await runCli([...job, '--head', 'kernel', '--side', 'ladder']);
  assertFails(
    both,
    2,
    /--head: kernel reads the taps themselves, with no ladder network before it/,
  );
  const kernel = await runCli([...job, '--head', 'kernel', ...SMALL_JOB]);
  assert.equal(kernel.code, 0, kernel.stderr);
  assert.match(kernel.stdout, /none: solved at once/);
});

test('a head in closed form is not solved on gpu.js, and the report says where', async () => {
  const job = [
    ...['train', '--model', space.model, '--data', space.tiny, '--no-baselines', '--json'],
    ...[...SMALL_JOB, '--head', 'kernel'],
  ];
  const run = async (...flags: string[]) => {
    const server = await startServer(['--backend', 'gpu:webasm', ...flags]);
    const to = ['--server', server.url, '--adapter-path', space.path(`solved${flags.length}`)];
    const ended = await runCli([...job, ...to]);
    await server.stop();
    return ended;
  };
  const solved = await run();
  assert.equal(solved.code, 0, solved.stderr);
  const { serverBackend } = JSON.parse(solved.stdout) as TrainReport;
  assert.match(serverBackend, /^cpu.* instead of gpu:webasm .*: a head in closed form/);
  assertFails(await run('--require-backend'), 5, /--require-backend: a head in closed form/);
});
