import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { hubAccess } from '../../../src/cli/pull-hub-access.ts';
import { findPulled, parseRepo } from '../../../src/cli/pull-hub-cache.ts';
import { type PullRepoOptions, pullRepo } from '../../../src/cli/pull-repo.ts';
import type { PullProgress } from '../../../src/cli/pull-report.ts';
import { FakeHub, gitHash, sha256 } from '../../support/fake-hub.ts';

const weights = (seed: number, length = 200_000) => {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + seed * 17 + (i >> 8)) & 0xff;
  return bytes;
};
const FILES: Record<string, Buffer> = {
  'config.json': Buffer.from('{"model_type":"tiny"}'),
  'tokenizer.json': Buffer.from('{"model":{}}'),
  'tokenizer_config.json': Buffer.from('{}'),
  'model.safetensors.index.json': Buffer.from('{"weight_map":{}}'),
  'model-00001-of-00003.safetensors': weights(1),
  'model-00002-of-00003.safetensors': weights(2),
  'model-00003-of-00003.safetensors': weights(3),
  'README.md': Buffer.from('not needed'),
  'pytorch_model.bin': Buffer.from('not needed'),
  'onnx/model.onnx': Buffer.from('not needed'),
};
const NEEDED = Object.keys(FILES).filter((path) => !/README|\.bin|onnx/.test(path));
const SHARD = 'model-00002-of-00003.safetensors';

describe('pullRepo', () => {
  let root: string;
  let hub: FakeHub;
  let env: NodeJS.ProcessEnv;
  let progress: PullProgress[];
  let round = 0;

  const pull = (options: PullRepoOptions = {}, revision = 'main') =>
    pullRepo(
      { repo: hub.repo, revision },
      { env, pauseMs: 1, onProgress: (event) => progress.push(event), ...options },
    );
  const folder = () => join(env.HF_HOME as string, 'hub', 'models--someone--tiny');
  const blobs = async () => (await readdir(join(folder(), 'blobs')).catch(() => [])).sort();
  const byteRequests = () => hub.requests.filter(({ host }) => host === 'cdn');
  const assertWhole = async (path: string) => {
    for (const name of NEEDED)
      assert.deepEqual(await readFile(join(path, name)), FILES[name], name);
    assert.ok((await blobs()).every((name) => !name.endsWith('.incomplete')));
  };

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'mobillm-pull-repo-'));
    hub = await FakeHub.start();
  });
  after(async () => {
    hub.stop();
    await rm(root, { recursive: true, force: true });
  });
  beforeEach(() => {
    hub.reset({ ...FILES });
    progress = [];
    env = { HF_HOME: join(root, `home-${round++}`), HF_ENDPOINT: `${hub.endpoint}/` };
  });

  it("fetches what is needed, in parallel, into the hub's layout", async () => {
    const pulled = await pull();
    const snapshot = join(folder(), 'snapshots', hub.commit);
    assert.deepEqual([pulled.path, pulled.commit, pulled.source], [snapshot, hub.commit, 'hub']);
    assert.deepEqual((await readdir(snapshot)).sort(), [...NEEDED].sort());
    await assertWhole(snapshot);
    assert.deepEqual(
      await blobs(),
      NEEDED.map((name) =>
        name.endsWith('.safetensors') ? sha256(FILES[name]) : gitHash(FILES[name]),
      ).sort(),
    );
    assert.equal(
      await readlink(join(snapshot, SHARD)),
      join('..', '..', 'blobs', sha256(FILES[SHARD])),
    );
    assert.equal(await readFile(join(folder(), 'refs', 'main'), 'utf8'), hub.commit);
    assert.ok(hub.mostAtOnce > 1, 'one file after the other');
    const total = NEEDED.reduce((sum, name) => sum + FILES[name].length, 0);
    const last = progress.at(-1);
    assert.deepEqual([last?.phase, last?.done, last?.total], ['downloading', total, total]);
  });

  it('asks for no file twice, and finds again what was pulled', async () => {
    const { path } = await pull();
    hub.requests.length = 0;
    assert.equal((await pull()).source, 'cache');
    assert.deepEqual(byteRequests(), []);
    const place = { repo: hub.repo, revision: 'main' };
    assert.equal(await findPulled(hubAccess(env), place), path);
    assert.equal(await findPulled(hubAccess(env), { ...place, revision: 'v1' }), undefined);
    assert.equal(await findPulled(hubAccess(env), { ...place, revision: hub.commit }), path);
  });

  it('goes on by range after every break of a connection', async () => {
    hub.faults = { breakAfter: 60_000 };
    const { path } = await pull();
    await assertWhole(path);
    const ranges = byteRequests().filter(({ url }) => url === `/${SHARD}`);
    assert.ok(ranges.length >= 4, `${ranges.length} requests for a file in pieces`);
    assert.ok(ranges.slice(1).every(({ range }) => /^bytes=[1-9]\d*-$/.test(range ?? '')));
  });

  for (const [what, faults] of [
    ['an answer that ends too early in good order', { endAfter: 60_000 }],
    ['a server that ignores ranges', { breakAfter: 60_000, breaks: 3, ignoreRanges: true }],
    ['a server that sends another range', { breakAfter: 60_000, breaks: 3, shiftRanges: true }],
    ['wrong bytes, once', { wrong: 1 }],
    ['a busy server', { busy: 3 }],
    ['answers that stop in the middle', { stalls: 2 }],
  ] as const) {
    it(`survives ${what}`, async () => {
      hub.faults = { ...faults };
      await assertWhole((await pull({ stallMs: 100 })).path);
    });
  }

  it('goes on in a later pull, after an abort and after beginnings of another process', async () => {
    hub.faults = { breakAfter: 60_000 };
    const controller = new AbortController();
    const stop = new Error('stopped on purpose');
    const onProgress = ({ phase, done }: PullProgress) => {
      if (phase === 'downloading' && done > 100_000) controller.abort(stop);
    };
    await assert.rejects(pull({ signal: controller.signal, onProgress }), stop);
    const begun = (await blobs()).filter((name) => name.endsWith('.incomplete'));
    assert.ok(begun.length > 0);
    // Longer than the file can only be rubbish; of right length but wrong is found by the hash.
    const shard = join(folder(), 'blobs', `${sha256(FILES[SHARD])}.incomplete`);
    await writeFile(shard, Buffer.alloc(FILES[SHARD].length + 5));
    hub.requests.length = 0;
    hub.faults = {};
    await assertWhole((await pull()).path);
    assert.ok(byteRequests().some(({ range }) => range !== undefined));
    await rm(folder(), { recursive: true });
    await mkdir(join(folder(), 'blobs'), { recursive: true });
    await writeFile(shard, Buffer.alloc(FILES[SHARD].length, 'y'));
    await assertWhole((await pull()).path);
  });

  it('refuses bytes that stay wrong, and leaves none of them', async () => {
    hub.faults = { wrong: 1_000 };
    await assert.rejects(pull({ file: [SHARD] }), {
      name: 'FormatError',
      code: 'E_MODEL_HASH',
      message: /^someone\/tiny: file has SHA-256 .* refused$/,
    });
    assert.deepEqual(await blobs(), []);
    await assert.rejects(stat(join(folder(), 'refs', 'main')));
  });

  it('gives up a server that breaks without ever sending more, and keeps what came', async () => {
    hub.faults = { breakAfter: 60_000, ignoreRanges: true };
    await assert.rejects(pull({ file: [SHARD] }), { name: 'ProtocolError', code: 'E_PULL' });
    assert.deepEqual(await blobs(), [`${sha256(FILES[SHARD])}.incomplete`]);
    assert.ok(byteRequests().length < 10);
  });

  it('fetches a damaged file of the cache again', async () => {
    const { path } = await pull();
    await writeFile(join(folder(), 'blobs', sha256(FILES[SHARD])), weights(9));
    assert.equal((await pull()).source, 'hub');
    await assertWhole(path);
    assert.ok(progress.some(({ message }) => /is not the expected file/.test(message)));
  });

  it('sends the token to the hub and to nobody else', async () => {
    hub.faults = { token: 'hf_right' };
    env.HF_TOKEN = 'hf_right';
    await assertWhole((await pull()).path);
    for (const { host, token } of hub.requests) {
      assert.equal(token, host === 'hub' ? 'Bearer hf_right' : undefined);
    }
  });

  for (const [what, faults, token, place, error] of [
    [
      'a private repository',
      { token: 'a' },
      undefined,
      {},
      [/private.*set HF_TOKEN/, 'E_UNAUTHORIZED'],
    ],
    [
      'a bad token',
      { token: 'a' },
      'b',
      {},
      [/does not take the token in HF_TOKEN/, 'E_UNAUTHORIZED'],
    ],
    [
      'a gated one',
      { token: 'a', gated: true },
      undefined,
      {},
      [/is gated; accept.*\/someone\/tiny and set HF_TOKEN/, 'E_UNAUTHORIZED'],
    ],
    [
      'a gated one for this account',
      { token: 'a', gated: true },
      'a',
      {},
      [/may not read it; accept/, 'E_UNAUTHORIZED'],
    ],
    [
      'a missing one',
      {},
      undefined,
      { repo: 'no/such' },
      [/no such repository, or it is private/, 'E_UNAUTHORIZED'],
    ],
    [
      'a missing one, with a token',
      {},
      'a',
      { repo: 'no/such' },
      [/no such repository/, 'E_NOT_FOUND'],
    ],
    [
      'a missing revision',
      {},
      undefined,
      { revision: 'v9' },
      [/has no revision v9/, 'E_NOT_FOUND'],
    ],
  ] as const) {
    it(`says in one line what to do about ${what}`, async () => {
      hub.faults = { ...faults };
      if (token) env.HF_TOKEN = token;
      const [message, code] = error;
      const pulling = pullRepo({ repo: hub.repo, revision: 'main', ...place }, { env });
      await assert.rejects(pulling, { code, message });
      await assert.rejects(pulling, (error: Error) => !error.message.includes('\n'));
      assert.deepEqual(await blobs(), []);
    });
  }

  it('takes a branch, a tag or a commit', async () => {
    const { commit } = await pull({}, 'v1');
    assert.equal(commit, hub.commit);
    assert.deepEqual(await readdir(join(folder(), 'refs')), ['v1']);
    assert.equal((await pull({}, hub.commit)).source, 'cache');
    assert.deepEqual(await readdir(join(folder(), 'refs')), ['v1']);
  });

  it('takes chosen files only: one GGUF of several', async () => {
    hub.files = { 'tiny.Q4_0.gguf': weights(4, 500), 'tiny.Q8_0.gguf': weights(5, 900) };
    await assert.rejects(pull(), {
      code: 'E_USAGE',
      message: /choose one with --file: tiny\.Q4_0/,
    });
    const { path } = await pull({ file: ['tiny.Q8_0.gguf'] });
    assert.deepEqual(await readFile(path), hub.files['tiny.Q8_0.gguf']);
    const place = { repo: hub.repo, revision: 'main' };
    assert.equal(await findPulled(hubAccess(env), place), path);
    assert.equal((await pull({ file: ['tiny.Q8_0.gguf'], offline: true })).path, path);
    await pull({ include: ['*.gguf'] });
    await assert.rejects(findPulled(hubAccess(env), place), { code: 'E_USAGE' });
  });

  it('asks nobody offline', async () => {
    for (const offline of [{ offline: true }, {}]) {
      if (!offline.offline) env.HF_HUB_OFFLINE = '1';
      await assert.rejects(pull(offline), { code: 'E_NOT_FOUND', message: /offline/ });
    }
    assert.deepEqual(hub.requests, []);
    delete env.HF_HUB_OFFLINE;
    const { path } = await pull();
    const asked = hub.requests.length;
    assert.equal((await pull({ offline: true })).path, path);
    assert.equal(hub.requests.length, asked);
  });

  it('says which hub cannot be reached', async () => {
    env.HF_ENDPOINT = 'http://127.0.0.1:9';
    await assert.rejects(pull(), {
      code: 'E_PULL',
      message: /someone\/tiny: http:\/\/127.*ECONN|fetch failed/,
    });
  });

  it('refuses paths that lead out of the folder', async () => {
    for (const path of ['../evil.safetensors', '/etc/x.gguf', 'a/./b.gguf', 'a\\b.gguf']) {
      hub.files = { [path]: weights(1, 10) };
      await assert.rejects(pull(), { name: 'FormatError', message: /by the path .* refused/ });
    }
  });

  it('makes one of two pulls at once', async () => {
    const both = await Promise.all([pull(), pull()]);
    assert.deepEqual(both.map(({ source }) => source).sort(), ['cache', 'hub']);
    assert.equal(byteRequests().length, 3);
  });
});

describe('parseRepo', () => {
  it('knows org/name and org/name@revision from paths and names', () => {
    assert.deepEqual(parseRepo('a/b'), { repo: 'a/b', revision: 'main' });
    assert.deepEqual(parseRepo('a/b.c-1@refs/pr/2'), { repo: 'a/b.c-1', revision: 'refs/pr/2' });
    for (const text of [
      'a',
      './a',
      '../a',
      '/a/b',
      'a/b/c',
      'a/b@',
      'a/b@../c',
      'a/b@x/../y',
      '',
      'a\\b',
    ]) {
      assert.equal(parseRepo(text), undefined, text);
    }
  });
});
