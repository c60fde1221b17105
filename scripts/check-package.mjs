// Packs dist/ as npm would publish it and has two judges look at the tarball: publint (what
// package.json promises against the files) and attw (how TypeScript resolves every sub-path).
// Then what they do not know: no file that nobody needs.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

/** Folders and files at the root of the package; npm adds some of them by itself. */
const SHIPPED =
  /^(dist\/.*\.(js|d\.ts)|bin\/mobillm\.mjs|docs\/[\w-]+\.md|[A-Z]+(\.md)?|package\.json)$/;

/** Bytes of the tarball above which something is in it that should not be. */
const MOST_BYTES = 1_000_000;

const node = setupOrExit();

function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    ...options,
  });
  if (status === 0) return stdout;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}${error ? `${error.message}\n` : ''}`);
  throw new Error(`${command} ${args.join(' ')} failed`);
}

/** Runs a package's command with the Node of the sources. */
function tool(name, ...args) {
  const folder = join(root, 'node_modules', name);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const path = typeof bin === 'string' ? bin : Object.values(bin)[0];
  return run(node, [join(folder, path), ...args]);
}

const temporary = mkdtempSync(join(tmpdir(), 'mobillm-pack-'));
try {
  const windows = process.platform === 'win32';
  const json = run('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', temporary], {
    shell: windows,
  });
  const [{ filename, files, size }] = JSON.parse(json);
  const tarball = join(temporary, filename);
  tool('publint', 'run', tarball, '--strict');
  tool('@arethetypeswrong/cli', tarball, '--profile', 'esm-only', '--no-color');
  const strangers = files.map(({ path }) => path).filter((path) => !SHIPPED.test(path));
  if (strangers.length > 0) throw new Error(`the package holds ${strangers.join(', ')}`);
  if (size > MOST_BYTES) throw new Error(`the package has ${size} bytes, above ${MOST_BYTES}`);
  process.stdout.write(`package: ${files.length} files, ${size} bytes; publint and attw agree\n`);
} catch (error) {
  process.stderr.write(`check-package: ${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
