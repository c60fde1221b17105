// Compiles src/ to dist/, which is what the npm package ships: JavaScript and declarations that
// any Node from 20 on, a browser or a bundler can load.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
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

// TypeScript rewrites the extensions of imports, but not of `new URL('./worker.ts',
// import.meta.url)`, by which workers find their file.
const WORKER_URL = /new URL\(\s*(['"])(\.{1,2}\/[^'"]+)\.ts\1,\s*import\.meta\.url\s*\)/g;
let files = 0;
for (const name of readdirSync(dist, { recursive: true })) {
  if (!name.endsWith('.js')) continue;
  files++;
  const path = join(dist, name);
  const source = readFileSync(path, 'utf8');
  const rewritten = source.replace(WORKER_URL, (_, quote, target) => {
    if (!existsSync(resolve(dirname(path), `${target}.js`))) {
      process.stderr.write(`build: dist/${name} refers to ${target}.ts, which was not compiled\n`);
      process.exit(1);
    }
    return `new URL(${quote}${target}.js${quote}, import.meta.url)`;
  });
  if (rewritten !== source) writeFileSync(path, rewritten);
}

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
process.stdout.write(`build: ${files} modules in dist/\n`);
