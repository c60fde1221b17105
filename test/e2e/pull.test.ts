import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runCli, startCli, workspace } from '../support/cli.ts';
import { FakeHub, sha256 } from '../support/fake-hub.ts';

const space = workspace();
let hub: FakeHub;
let env: Record<string, string>;
const blobs = () => join(env.HF_HOME, 'hub', 'models--someone--tiny', 'blobs');

before(async () => {
  hub = await FakeHub.start();
  env = { HF_HOME: space.path('hf'), HF_ENDPOINT: hub.endpoint, HF_TOKEN: '', HF_HUB_CACHE: '' };
});
after(() => {
  hub.stop();
  space.remove();
});

test('a pull that was killed goes on, and --model finds what it fetched', async () => {
  const gguf = readFileSync(space.model);
  hub.reset({ 'tiny.gguf': gguf, 'README.md': Buffer.from('tiny') });
  const early = await runCli(['generate', '--model', 'someone/tiny', '-p', 'a'], { env });
  assert.equal(early.code, 2);
  assert.match(early.stderr, /^error \[E_NOT_FOUND\]: .*mobillm pull someone\/tiny fetches it\n$/);

  const half = gguf.length >> 1;
  hub.faults = { breakAfter: half, breaks: 1, busy: 0 };
  // The connection breaks in the middle; from then on this hub is busy, so that the pull waits.
  const pulling = startCli(['pull', 'someone/tiny@v1'], { env });
  const partial = () => join(blobs(), `${sha256(gguf)}.incomplete`);
  while (!existsSync(partial())) await new Promise((resolve) => setTimeout(resolve, 5));
  hub.faults.busy = 1_000;
  pulling.child.kill('SIGKILL');
  assert.equal((await pulling.done).code, null);
  assert.deepEqual(readdirSync(blobs()), [`${sha256(gguf)}.incomplete`]);

  hub.faults = {};
  const { code, stdout, stderr } = await runCli(['pull', 'someone/tiny', '--json'], { env });
  assert.deepEqual([code, stderr], [0, '']);
  const { path, files, ...told } = JSON.parse(stdout);
  assert.deepEqual(told, {
    name: 'someone/tiny',
    repo: 'someone/tiny',
    revision: 'main',
    commit: hub.commit,
    source: 'hub',
  });
  assert.deepEqual(files, [{ file: 'tiny.gguf', path, size: gguf.length, sha256: sha256(gguf) }]);
  assert.deepEqual(readFileSync(path), gguf);

  const asked = hub.requests.length;
  const inspected = await runCli(['inspect', 'someone/tiny', '--json'], { env });
  assert.equal(JSON.parse(inspected.stdout).file, path, inspected.stderr);
  const offline = await runCli(['pull', 'someone/tiny', '--offline'], { env });
  assert.equal(offline.stdout, `${path}\n`);
  const said = await runCli(
    ['generate', '--model', 'someone/tiny', '-p', 'a', '--max-tokens', '2'],
    {
      env,
    },
  );
  assert.equal(said.code, 0, said.stderr);
  assert.equal(hub.requests.length, asked, 'the hub was asked for what is there');
});

test('a failed pull is one line', async () => {
  for (const [args, code, line] of [
    [['no/such'], 5, /^error \[E_UNAUTHORIZED\]: no\/such: .* set HF_TOKEN\n$/],
    [['someone/tiny@v9'], 2, /^error \[E_NOT_FOUND\]: someone\/tiny: it has no revision v9/],
    [['someone/tiny', '--file', 'x.gguf'], 2, /has no file x\.gguf; it has tiny\.gguf/],
    [['someone/other', '--offline'], 2, /is not in .*, and offline nothing is fetched\n$/],
    [['smollm2-135m', '--file', 'x'], 2, /--file and --include choose from org\/name/],
    [['nonsense'], 2, /no model named nonsense/],
  ] as const) {
    const result = await runCli(['pull', ...args], { env });
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, line);
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
  }
});
