// Compiles src/ to dist/, which is what the npm package ships: JavaScript and declarations that
// any Node from 20 on, a browser or a bundler can load.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

const node = setupOrExit();
const dist = join(root, 'dist');
rmSync(dist, { recursive: true, force: true });

const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const { status } = spawnSync(node, [tsc, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(1);

// What package.json promises to those who import the package must be there.
const { exports, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const missing = [...Object.values(exports), ...Object.values(bin)].filter(
  (path) => !existsSync(join(root, path)),
);
if (missing.length > 0) {
  process.stderr.write(
    `build: package.json names files that are not there: ${missing.join(', ')}\n`,
  );
  process.exit(1);
}
const modules = readdirSync(dist, { recursive: true }).filter((name) => name.endsWith('.js'));
process.stdout.write(`build: ${modules.length} modules in dist/\n`);
