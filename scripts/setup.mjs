// Puts in place what a fresh clone lacks: npm packages (with the Node that runs TypeScript among
// them) and the compiled kernels. Runs on any Node from 20 on and needs no package itself.
// Everything it says goes to stderr, so that the output of a verb can be piped.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of package.json. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const windows = process.platform === 'win32';

/** The lowest Node whose type stripping and relaxed SIMD the sources rely on. */
const NODE_MAJOR = 24;

/** A failure with a message for people, not a stack. */
class SetupError extends Error {}

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

/**
 * Whether node_modules holds what package-lock.json asks for, by npm's own record of what it
 * installed. Only packages for other platforms (optional ones) may be missing.
 */
export function dependenciesCurrent(folder = root) {
  const record = join(folder, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = readJson(join(folder, 'package-lock.json')).packages;
  const installed = readJson(record).packages;
  const known = Object.keys(installed).every((path) => path in wanted);
  return (
    known &&
    Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
      if (path === '') return true;
      const got = installed[path];
      return got ? got.version === version && got.integrity === integrity : optional === true;
    })
  );
}

/** Runs a program; its output appears only when it fails. */
function runQuietly(what, command, args, options = {}) {
  // npm puts node_modules/.bin in front of the PATH; an install that removes that folder must not
  // depend on a program inside it.
  const PATH = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((entry) => !resolve(entry).startsWith(join(root, 'node_modules')))
    .join(delimiter);
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, PATH },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    ...options,
  });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  throw new SetupError(`${what} failed: ${error?.message ?? `exit code ${status}`}`);
}

/** npm itself: the one that runs this script when there is one, else the one on the PATH. */
function npm(...args) {
  const script = process.env.npm_execpath ?? '';
  const viaNode = /npm-cli\.c?js$/.test(script);
  const what = `npm ${args.join(' ')}`;
  if (viaNode) {
    runQuietly(what, process.env.npm_node_execpath ?? process.execPath, [script, ...args]);
  } else {
    runQuietly(what, 'npm', args, { shell: windows });
  }
}

function installDependencies() {
  if (dependenciesCurrent()) return;
  process.stderr.write('setup: installing npm packages (npm ci) ...\n');
  npm('ci', '--no-audit', '--no-fund', '--loglevel=error');
}

const nodeBinary = join(root, 'node_modules', 'node', 'bin', windows ? 'node.exe' : 'node');

function works(binary) {
  if (!existsSync(binary)) return false;
  const { status, stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  return status === 0 && Number(/^v(\d+)/.exec(stdout)?.[1]) >= NODE_MAJOR;
}

/**
 * The Node that runs the TypeScript sources: the development dependency `node`, whose install
 * script fetches the binary for this platform. Where npm was told to skip install scripts, the
 * script is run here.
 */
function findNode() {
  if (existsSync(nodeBinary)) return nodeBinary;
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  process.stderr.write(`setup: fetching Node ${NODE_MAJOR} (its install script was skipped) ...\n`);
  try {
    runQuietly(
      'install script of the package "node"',
      process.execPath,
      ['installArchSpecificPackage.js'],
      {
        cwd: join(root, 'node_modules', 'node'),
        env: process.env,
      },
    );
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
  }
  if (works(nodeBinary)) return nodeBinary;
  throw new SetupError(
    `Node ${NODE_MAJOR} is missing: this is Node ${process.versions.node}, and the npm package "node" could not fetch its binary. ` +
      'Run `npm rebuild node --ignore-scripts=false`, or use a Node of that version or newer.',
  );
}

/** Installs, finds the Node for the sources, compiles stale kernels. Gives that Node's path. */
export function setup() {
  installDependencies();
  const node = findNode();
  const script = join(root, 'scripts', 'build-wasm.mjs');
  const { status } = spawnSync(node, [script], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new SetupError('compiling the kernels (npm run build:wasm) failed');
  return node;
}

/** `setup`, or a line on stderr and exit code 1. */
export function setupOrExit() {
  try {
    return setup();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`setup: ${error.message}\n`);
    process.exit(1);
  }
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) setupOrExit();
