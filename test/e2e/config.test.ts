import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  assertFails,
  type CliServer,
  runCli,
  SMALL_JOB,
  startServer,
  workspace,
} from '../support/cli.ts';

const space = workspace();
let server: CliServer;
const adapter = space.path('adapter');
const weights = (at: string) => readFileSync(join(at, 'adapter_model.safetensors'));
const saved = join(adapter, 'config.yaml');

before(async () => {
  server = await startServer();
  const { code, stderr } = await runCli([
    ...['train', '--server', server.url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', adapter, '--json', '--token', 'hush', '--no-baselines', ...SMALL_JOB],
  ]);
  assert.equal(code, 0, stderr);
});
after(async () => {
  await server.stop();
  space.remove();
});

test('the configuration in the adapter folder makes the same adapter again', async () => {
  const text = readFileSync(saved, 'utf8');
  assert.doesNotMatch(text, /hush/);
  assert.match(text, /^layers:( \[ 1, 2, 3 \]|\n {2}- 1\n {2}- 2\n {2}- 3)$/m);
  assert.match(text, /^baselines: false$/m);
  const first = weights(adapter);
  const elsewhere = space.path('elsewhere');
  const runs = await Promise.all([
    runCli(['train', '--config', saved, '--adapter-path', elsewhere, '--json']),
    runCli(['eval', '--config', saved, '--json']),
  ]);
  for (const { code, stderr } of runs) assert.equal(code, 0, stderr);
  assert.deepEqual(weights(elsewhere), first);
  const [report, evaluated] = runs.map(({ stdout }) => JSON.parse(stdout));
  assert.equal(evaluated.accuracy, report.accuracy.side);
  const again = readFileSync(join(elsewhere, 'config.yaml'), 'utf8');
  assert.equal(again.replace(elsewhere, adapter), text);

  const bare = await runCli(['train', '--config', saved]);
  assert.equal(bare.code, 0, bare.stderr);
  assert.deepEqual(weights(adapter), first);
  assert.equal(readFileSync(saved, 'utf8'), text);
});

test('flags stand above the file, and what the file gets wrong is named by its line', async () => {
  const file = space.path('wrong.yaml');
  writeFileSync(file, `server: ${server.url}\ndata: ${space.tiny}\r\nepoch: 3\n`);
  const run = (...args: string[]) => runCli(['train', '--config', file, ...args]);
  assertFails(
    await run(),
    2,
    /E_CONFIG.*wrong\.yaml:3: unknown key "epoch"; did you mean "epochs"/,
  );
  writeFileSync(file, `server: ${server.url}\ndata: ${space.tiny}\nepochs: 0\n`);
  assertFails(await run(), 2, /E_CONFIG.*wrong\.yaml:3: epochs: It must be a whole number/);
  writeFileSync(file, `server: ${server.url}\ndata: ${space.path('nowhere')}\n`);
  assertFails(await run(), 3, /E_DATA.*nowhere\/train\.jsonl: not found/);
  assertFails(await run('--data', space.path('flag')), 3, /flag\/train\.jsonl: not found/);
});
