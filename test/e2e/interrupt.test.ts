import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { after, test } from 'node:test';
import {
  assertFails,
  type CliResult,
  runCli,
  SMALL_JOB,
  startCli,
  startServer,
  workspace,
} from '../support/cli.ts';

/*
 * What ends a job before its time: Ctrl-C at any moment, a server that dies or is stopped.
 * One line, its exit code, nothing half-written, and the other end lives on.
 */

const space = workspace();
after(() => space.remove());

function trainArgs(url: string, adapter: string, ...flags: string[]): string[] {
  return [
    ...['train', '--server', url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', adapter, ...SMALL_JOB, ...flags],
  ];
}

/** So many that the job never ends by itself. */
const FOR_EVER = ['--epochs', '10000'];

function assertInterrupted({ code, stdout, stderr }: CliResult, adapter: string): void {
  // Progress lines may stand before it.
  const line = `interrupted: no adapter was written to ${adapter}\n`;
  assert.ok(stderr.endsWith(line), stderr);
  assert.ok(!/error|\n\s+at /.test(stderr), stderr);
  assert.equal(code, 130);
  assert.equal(stdout, '');
  assert.ok(!existsSync(adapter));
}

/** Messages of a server's log. */
const messagesOf = ({ stderr }: CliResult): string[] =>
  stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).msg as string)
    // What it trains on is no matter of this file.
    .filter((message) => !message.startsWith('auto:'));

test('Ctrl-C in the middle of a job: the server drops it and takes the next one', async () => {
  const server = await startServer();
  const adapter = space.path('middle', 'adapter');
  const device = startCli(trainArgs(server.url, adapter, ...FOR_EVER));
  await server.process.until('stderr', /job accepted/);
  device.child.kill('SIGINT');
  assertInterrupted(await device.done, adapter);
  assert.ok(!existsSync(space.path('middle')), 'not even the folder around it');
  await server.process.until('stderr', /device left/);
  const second = await runCli(trainArgs(server.url, adapter));
  assert.equal(second.code, 0, second.stderr);
  const log = await server.stop('SIGINT');
  assert.equal(log.code, 0);
  assert.deepEqual(messagesOf(log), [
    ...['listening', 'device connected', 'job accepted', 'job cancelled', 'device left'],
    ...['device connected', 'job accepted', 'job trained', 'device left'],
    'stopping',
  ]);
});

test('Ctrl-C while the server trains on alone: it stops training', async () => {
  const server = await startServer();
  const adapter = space.path('alone');
  const device = startCli(trainArgs(server.url, adapter, ...FOR_EVER));
  await device.until('stderr', /waiting for the server/);
  device.child.kill('SIGINT');
  assertInterrupted(await device.done, adapter);
  await server.process.until('stderr', /device left/);
  const messages = messagesOf(await server.stop());
  assert.deepEqual(messages.slice(2), [
    ...['job accepted', 'job cancelled', 'device left', 'stopping'],
  ]);
});

test('Ctrl-C while a server does not answer', async () => {
  const mute = createServer(() => {});
  await new Promise<void>((listening) => mute.listen(0, '127.0.0.1', listening));
  const connected = new Promise<void>((resolve) => mute.once('connection', () => resolve()));
  const adapter = space.path('mute');
  const url = `ws://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const device = startCli(trainArgs(url, adapter));
  await connected;
  device.child.kill('SIGINT');
  assertInterrupted(await device.done, adapter);
  mute.close();
});

test('Ctrl-C to predict on standard input', async () => {
  const server = await startServer();
  const adapter = space.path('predicting');
  const trained = await runCli(trainArgs(server.url, adapter, '--no-baselines', '--json'));
  await server.stop();
  assert.equal(trained.code, 0, trained.stderr);
  const predict = startCli(['predict', '--adapter-path', adapter], { keepStdin: true });
  predict.child.stdin.write('some text\n');
  await predict.until('stdout', /some text\n/);
  predict.child.kill('SIGINT');
  const { code, stderr } = await predict.done;
  assert.equal(stderr, 'interrupted: prediction stopped\n');
  assert.equal(code, 130);
});

test('a server that dies in the middle', async () => {
  const server = await startServer();
  const adapter = space.path('dies');
  const device = startCli(trainArgs(server.url, adapter, '--json', ...FOR_EVER));
  await server.process.until('stderr', /job accepted/);
  await server.stop('SIGKILL');
  const result = await device.done;
  assertFails(result, 5, /E_CLOSED.*ws:.*check the network and the server's log, then run again/);
  assert.ok(!existsSync(adapter));
});

test('a server that is stopped in the middle tells its devices', async () => {
  const server = await startServer();
  const adapter = space.path('stopped');
  const device = startCli(trainArgs(server.url, adapter, '--json', ...FOR_EVER));
  await server.process.until('stderr', /job accepted/);
  assert.equal((await server.stop('SIGINT')).code, 0);
  assertFails(await device.done, 5, /E_CLOSED.*the server stops/);
  assert.ok(!existsSync(adapter));
});

test('a server that its parent started ends with it, however that ends', async () => {
  const server = startCli(['serve', '--port', '0', '--json', '--until-input-ends'], {
    keepStdin: true,
  });
  await server.until('stdout', /\n/);
  // What the system does to the pipe of a process that was killed.
  server.child.stdin.destroy();
  assert.equal((await server.done).code, 0);
});
