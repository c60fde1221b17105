import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { assertFails, runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';
import { FakeHub } from '../support/fake-hub.ts';

const space = workspace();
after(() => space.remove());

function trainArgs(url: string, adapter: string, ...flags: string[]): string[] {
  return [
    ...['train', '--server', url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', adapter, ...SMALL_JOB, '--json', ...flags],
  ];
}

/** A folder on a file system of 64 KiB; undefined where this process may not mount one. */
function tinyDisk(name: string): { path: string; unmount(): void } | undefined {
  const path = space.path(name);
  mkdirSync(path);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  return { path, unmount: () => execFileSync('umount', ['-l', path]) };
}

const disk = tinyDisk('disk');
if (!disk) process.stderr.write('SKIPPED: a full disk, which takes the right to mount one\n');

test('a full disk', {
  skip: disk ? false : 'mounting a small disk is not allowed here',
}, async () => {
  const { path, unmount } = disk as NonNullable<typeof disk>;
  const server = await startServer();
  try {
    const adapter = `${path}/adapter`;
    // 3 x 2 x 64 x 512 weights in f32 are 786 kB.
    const full = await runCli(trainArgs(server.url, adapter, '--rank', '512'));
    assertFails(full, 6, /E_DISK_FULL.*adapter.*disk is full; free some space/);
    assert.deepEqual(readdirSync(path), [], 'nothing is left, nothing hidden either');
    // An adapter that is there already stays as it was.
    const small = await runCli(trainArgs(server.url, adapter, '--rank', '1', '--no-baselines'));
    assert.equal(small.code, 0, small.stderr);
    const before = readFileSync(`${adapter}/adapter_config.json`, 'utf8');
    const again = await runCli(trainArgs(server.url, adapter, '--rank', '512'));
    assert.equal(again.code, 6);
    assert.deepEqual(readdirSync(path), ['adapter']);
    assert.equal(readFileSync(`${adapter}/adapter_config.json`, 'utf8'), before);
  } finally {
    await server.stop();
    unmount();
  }
});

test('a disk that fills up during a pull', {
  skip: disk ? false : 'mounting a small disk is not allowed here',
}, async () => {
  const { path, unmount } = tinyDisk('cache') as NonNullable<typeof disk>;
  const hub = await FakeHub.start();
  try {
    hub.reset({ 'large.gguf': Buffer.alloc(300_000, 'weights ') });
    const env = { HF_HOME: path, HF_HUB_CACHE: '', HF_TOKEN: '', HF_ENDPOINT: hub.endpoint };
    const full = await runCli(['pull', hub.repo], { env });
    assertFails(full, 6, /E_DISK_FULL.*disk is full; free some space/);
    const left = readdirSync(path, { recursive: true }).map(String);
    assert.ok(
      left.every((name) => !/snapshots|refs/.test(name)),
      'nothing looks like a model',
    );
  } finally {
    hub.stop();
    unmount();
  }
});
