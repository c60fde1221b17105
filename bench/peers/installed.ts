// Peers live in a package of their own, so that installing mobillm never fetches them.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const FOLDER = import.meta.dirname;

/**
 * Flags of npm: no script of a package runs (binaries come inside the packages), and of what is
 * optional only what package.json names (llama.cpp for CUDA and Vulkan would be 700 MB).
 */
const FLAGS = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];

/**
 * Puts the peers of package-lock.json in place where they are not yet.
 * @throws Error when npm cannot
 */
export async function installPeers(): Promise<void> {
  // A script without types, shared with `npm run setup`.
  const setup = (await import(
    pathToFileURL(join(FOLDER, '..', '..', 'scripts', 'setup.mjs')).href
  )) as { dependenciesCurrent(folder: string): boolean };
  if (setup.dependenciesCurrent(FOLDER)) return;
  process.stderr.write('bench:peers: installing what is compared (npm ci, 780 MB) ...\n');
  const { status, error } = spawnSync('npm', ['ci', ...FLAGS, '--loglevel=error'], {
    cwd: FOLDER,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (status !== 0) {
    throw new Error(`npm ci failed: ${error?.message ?? `exit code ${status}`}`);
  }
}

/** A peer's main module, found from this folder's node_modules. */
export function importPeer<T>(name: string): Promise<T> {
  return import(name) as Promise<T>;
}

/** The version of an installed peer; undefined where it is not there. */
export function peerVersion(name: string): string | undefined {
  const manifest = join(FOLDER, 'node_modules', name, 'package.json');
  if (!existsSync(manifest)) return undefined;
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}
