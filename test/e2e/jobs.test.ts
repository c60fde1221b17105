import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { after, test } from 'node:test';
import { runCli, SMALL_JOB, startCli, startServer, workspace } from '../support/cli.ts';

/* Jobs of other shapes: two at once, a cache that does not fit into memory. */

const space = workspace();
after(() => space.remove());

function trainArgs(url: string, name: string, ...flags: string[]): string[] {
  return [
    ...['train', '--server', url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', space.path(name), '--no-baselines', '--json', ...SMALL_JOB, ...flags],
  ];
}

const weightsOf = (name: string) => readFileSync(space.path(name, 'adapter_model.safetensors'));

test('jobs side by side, and one that spills to disk, give what one alone gives', async () => {
  const spillDir = space.path('spill', 'made', 'when', 'missing');
  const [roomy, tight] = await Promise.all([
    startServer(),
    // 500 bytes: one row of each split stays in memory, the others go to disk.
    startServer(['--cache-limit', '0.0005', '--spill-dir', spillDir]),
  ]);
  const alone = await runCli(trainArgs(roomy.url, 'alone'));
  assert.equal(alone.code, 0, alone.stderr);
  assert.equal(JSON.parse(alone.stdout).server.cache.spilled, 0);
  const [first, second, spilled] = await Promise.all([
    runCli(trainArgs(roomy.url, 'first')),
    runCli(trainArgs(roomy.url, 'second', '--seed', '4')),
    runCli(trainArgs(tight.url, 'spilled')),
  ]);
  for (const { code, stderr } of [first, second, spilled]) assert.equal(code, 0, stderr);
  assert.deepEqual(weightsOf('first'), weightsOf('alone'));
  assert.notDeepEqual(weightsOf('second'), weightsOf('alone'), 'another seed, another adapter');
  const { cache } = JSON.parse(spilled.stdout).server;
  assert.ok(cache.spilled > 10 * cache.memory, JSON.stringify(cache));
  assert.deepEqual(weightsOf('spilled'), weightsOf('alone'));
  assert.deepEqual(readdirSync(spillDir), []);
  await Promise.all([roomy.stop(), tight.stop()]);
});

test('no spilled file outlives its job, however the job ends', async () => {
  const spillDir = space.path('cancelled');
  mkdirSync(spillDir);
  const server = await startServer(['--cache-limit', '0', '--spill-dir', spillDir]);
  const device = startCli(trainArgs(server.url, 'never', '--epochs', '10000'));
  await server.process.until('stderr', /job accepted/);
  device.child.kill('SIGINT');
  assert.equal((await device.done).code, 130);
  await server.process.until('stderr', /device left/);
  assert.deepEqual(readdirSync(spillDir), []);
  const next = startCli(trainArgs(server.url, 'never', '--epochs', '10000'));
  await server.process.until('stderr', /job accepted[\s\S]*job accepted/);
  await server.stop('SIGKILL');
  assert.equal((await next.done).code, 5);
  assert.deepEqual(readdirSync(spillDir), [], 'after a kill neither');
});

test('a spill folder that goes away ends the job, not the server', async () => {
  const spillDir = space.path('gone');
  const server = await startServer(['--cache-limit', '0', '--spill-dir', spillDir]);
  rmSync(spillDir, { recursive: true });
  const { code, stderr } = await runCli(trainArgs(server.url, 'unspilled'));
  assert.match(stderr, /^error \[E_NOT_FOUND\]: ws:[^\n]*gave up: spill activations: [^\n]+\n$/);
  assert.equal(code, 5);
  assert.equal((await server.stop()).code, 0);
});
