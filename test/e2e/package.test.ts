import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve, sep } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';

/*
 * The package as others get it: packed, installed into an empty folder, used on the machine's own
 * Node and on the Node of the sources. Needs dist/ as `npm run build` leaves it, and npm's cache or
 * a registry; says so where one is missing.
 */

const ROOT = resolve(import.meta.dirname, '..', '..');
const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
const { name, version, exports, dependencies } = readJson(join(ROOT, 'package.json'));

/** Sub-paths for Node alone; every other one has to load in a browser. */
const NODE_ONLY = ['./transport/ws-node', './server', './platform/node', './threads/node'];

/** Milliseconds after which npm, when it hangs on a registry, is no longer waited for. */
const NPM_TIMEOUT_MS = 120_000;

function newest(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true });
  const times = files.filter((file) => file.isFile());
  return Math.max(...times.map((file) => statSync(join(file.parentPath, file.name)).mtimeMs));
}

function skipWithoutBuild(): string | false {
  const built = join(ROOT, 'dist', 'index.js');
  const why = !existsSync(built)
    ? 'dist/ is missing'
    : newest(join(ROOT, 'src')) > statSync(built).mtimeMs && 'dist/ is older than src/';
  // In CI the build comes before the tests; without it nothing here would be verified.
  if (why && process.env.CI) throw new Error(`${why}: .ci/run builds it first`);
  return why && `${why}: run npm run build`;
}

/** The Node that the machine has by itself: the first on the PATH that no package brought. */
function ownNode(): string | undefined {
  const binary = process.platform === 'win32' ? 'node.exe' : 'node';
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders
    .filter((folder) => folder !== '' && !folder.includes(`node_modules${sep}`))
    .map((folder) => join(folder, binary))
    .find((path) => existsSync(path));
}

function npm(cwd: string, ...args: string[]) {
  const own = ownNode();
  const PATH = [...(own ? [resolve(own, '..')] : []), process.env.PATH].join(delimiter);
  return spawnSync('npm', [...args, '--loglevel=error'], {
    cwd,
    encoding: 'utf8',
    timeout: NPM_TIMEOUT_MS,
    shell: process.platform === 'win32',
    env: { ...process.env, PATH, npm_config_fetch_retries: '0' },
  });
}

/**
 * A lock for a folder that has the tarball as its one dependency, with everything below it as this
 * project's own lock has it: npm then installs by hash, from its cache, without asking a registry.
 */
function lockFor(tarball: string): object {
  const wanted = readJson(join(ROOT, 'package-lock.json')).packages as Record<
    string,
    { dev?: boolean }
  >;
  const below = Object.entries(wanted).filter(([path, { dev }]) => path !== '' && !dev);
  const root = { dependencies: { [name]: `file:${tarball}` } };
  return {
    name: 'consumer',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': root,
      [`node_modules/${name}`]: {
        version,
        resolved: `file:${tarball}`,
        dependencies,
        bin: { mobillm: 'bin/mobillm.mjs' },
      },
      ...Object.fromEntries(below),
    },
  };
}

/** What a program of somebody else does with the package; prints one JSON object. */
const CONSUMER = `
import * as errors from 'mobillm';
import { adamwInit, adamwStep, parallelSide } from 'mobillm/model';
import { installQuant, linearQuantized, packQc8w, quantizeRows } from 'mobillm/quant';
import { cpuBackend, crossEntropy, random, randomNormal, setBackend, tensor, valueAndGrad, wasmBackend } from 'mobillm/tensor';
import { memoryChannelPair } from 'mobillm/transport';
import { fileByteSource } from 'mobillm/platform/node';

const losses = [];
const backend = wasmBackend();
setBackend(backend);
const rng = random(1);
const taps = [1, 2].map(() => randomNormal([8, 16], 1, rng));
const labels = tensor(Int32Array.from({ length: 8 }, (_, i) => i % 2));
const side = parallelSide({ layers: 2, width: 16, kinds: 1, classes: 2 }, { rank: 4 });
const lossAndGrads = valueAndGrad((params) => crossEntropy(side.logits(params, taps), labels));
let params = side.init(rng, backend);
let state = adamwInit(params);
for (let step = 0; step < 30; step++) {
  const { value, grads } = lossAndGrads(params);
  ({ params, state } = adamwStep(params, grads, state, { learningRate: 1e-2 }));
  losses.push(value.item());
}
installQuant(backend);
const w = packQc8w(Float32Array.from({ length: 64 * 32 }, (_, i) => (i % 7) - 3), 64, 32, { backend });
const y = linearQuantized(quantizeRows(randomNormal([2, 32], 1, rng)), w);
const source = await fileByteSource(new URL(import.meta.url).pathname);
await source.close();
process.stdout.write(JSON.stringify({
  version: process.versions.node,
  first: losses[0],
  last: losses.at(-1),
  shape: y.shape,
  code: new errors.ShapeError('x').code,
  reference: cpuBackend().name,
  channels: memoryChannelPair().length,
}));
`;

/** Loads modules where Node's own are forbidden and its globals are gone, as in a browser. */
const NO_NODE = `
import { isBuiltin, registerHooks } from 'node:module';
registerHooks({
  resolve(specifier, context, next) {
    if (isBuiltin(specifier) && context.parentURL?.includes('node_modules')) {
      throw new Error('imports ' + specifier + ': ' + context.parentURL);
    }
    return next(specifier, context);
  },
});
`;
const BROWSER = `
const names = process.argv.slice(2);
const { stdout } = process;
for (const key of ['process', 'Buffer', 'global', 'setImmediate', 'clearImmediate', 'require']) {
  delete globalThis[key];
}
const before = new Set(Object.getOwnPropertyNames(globalThis));
const empty = [];
for (const name of names) {
  const module = await import(name);
  if (Object.keys(module).length === 0) empty.push(name);
}
const added = Object.getOwnPropertyNames(globalThis).filter((key) => !before.has(key));
stdout.write(JSON.stringify({ empty, added }));
`;

const skip = skipWithoutBuild();

describe('the packed package', { skip }, () => {
  const space = workspace();
  const folder = mkdtempSync(join(tmpdir(), 'mobillm-package-'));
  const nodes = [...new Set([ownNode(), process.execPath].filter((one) => one !== undefined))];
  const installed = join(folder, 'node_modules', name);
  const bin = join(installed, 'bin', 'mobillm.mjs');
  const specifiers = Object.keys(exports).map((path) => path.replace(/^\./, name));
  let why: string | undefined;

  const run = (node: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(node, args, { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}${stderr}`);
    assert.equal(stderr, '');
    return stdout;
  };

  before(() => {
    const packed = npm(ROOT, 'pack', '--json', '--pack-destination', folder);
    assert.equal(packed.status, 0, packed.stderr);
    const [{ filename }] = JSON.parse(packed.stdout);
    const consumer = { name: 'consumer', private: true, type: 'module' };
    const manifest = { ...consumer, dependencies: { [name]: `file:${filename}` } };
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(lockFor(filename)));
    const flags = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'];
    const result = npm(folder, 'ci', ...flags);
    if (result.status !== 0) {
      why = `npm ci found neither its cache nor a registry: ${result.stderr.trim().split('\n')[0]}`;
    }
    writeFileSync(join(folder, 'consumer.mjs'), CONSUMER);
    writeFileSync(join(folder, 'no-node.mjs'), NO_NODE);
    writeFileSync(join(folder, 'browser.mjs'), BROWSER);
  });
  after(() => {
    space.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const node of nodes) {
    it(`trains, multiplies and reads on ${node}`, (context) => {
      if (why) return context.skip(why);
      const result = JSON.parse(run(node, 'consumer.mjs'));
      assert.ok(result.last < result.first * 0.9, `loss from ${result.first} to ${result.last}`);
      assert.deepEqual(result.shape, [2, 64]);
      assert.deepEqual([result.code, result.channels], ['E_SHAPE', 2]);
      assert.match(run(node, bin, '--version'), new RegExp(`^${version}\n$`));
    });
  }

  it('runs a job between two processes', async (context) => {
    if (why) return context.skip(why);
    // Its threads are entries of their own, which only a job starts.
    const command = [nodes[0], bin] as const;
    const server = await startServer([], { command });
    const adapter = space.path('adapter');
    const data = ['--model', space.model, '--data', space.tiny, '--adapter-path', adapter];
    const { code, stderr } = await runCli(
      ['train', '--server', server.url, ...data, ...SMALL_JOB, '--json'],
      { command },
    );
    assert.equal(code, 0, stderr);
    assert.ok(existsSync(join(adapter, 'adapter_config.json')), readdirSync(adapter).join(', '));
    await server.stop();
  });

  it('loads where there is no Node, but for its Node parts, and changes nothing there', (context) => {
    if (why) return context.skip(why);
    const flags = ['--conditions=browser', '--import', './no-node.mjs'];
    const paths = specifiers.filter((path) => !NODE_ONLY.includes(path.replace(name, '.')));
    const { empty, added } = JSON.parse(run(process.execPath, ...flags, 'browser.mjs', ...paths));
    assert.deepEqual(empty, []);
    assert.deepEqual(
      added.filter((key: string) => !key.startsWith('__zod_global')),
      [],
      'modules add to the global object',
    );
    // The guard itself works: a Node part does not get past it.
    const server = [...flags, 'browser.mjs', `${name}/server`];
    const refused = spawnSync(process.execPath, server, { cwd: folder, encoding: 'utf8' });
    assert.match(refused.stderr, /imports node:/);
  });

  it('does nothing by being imported', (context) => {
    if (why) return context.skip(why);
    // It ends by itself and says nothing: no timer, thread, handle or output.
    const imports = specifiers.map((specifier) => `import '${specifier}';`).join('\n');
    assert.equal(run(process.execPath, '--input-type=module', '-e', imports), '');
  });
});
