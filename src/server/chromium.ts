import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { UsageError } from '../tensor/index.ts';

/** What the name of a browser's profile, a folder beside other temporary ones, begins with. */
export const PROFILE_PREFIX = 'mobillm-chromium-';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];

/**
 * A page computes, without a window, on the GPU where Chromium finds one and else in software, which
 * its adapter's name then says; nothing else is fetched. By the pipe the browser ends when this process does.
 */
const FLAGS = [
  ...['--headless=new', '--no-first-run', '--disable-quic', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-extensions'],
  ...['--disable-background-timer-throttling', '--disable-renderer-backgrounding'],
  ...['--enable-unsafe-webgpu', '--enable-features=Vulkan', '--ignore-gpu-blocklist'],
  ...['--enable-unsafe-swiftshader', '--disable-dev-shm-usage', '--remote-debugging-pipe'],
];

const runs = (path: string) => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/**
 * The program of a Chromium: the one named, else the first on PATH.
 * @throws UsageError (E_NOT_FOUND) where there is none
 */
export function findChromium(named?: string): string {
  if (named !== undefined) {
    if (runs(named)) return named;
    throw new UsageError(`--chromium: ${named} is no program that can be run`, 'E_NOT_FOUND');
  }
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const found = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(runs);
  if (found) return found;
  throw new UsageError(
    `--gpu-host chromium: no Chromium on PATH (${NAMES.join(', ')}); install one, or name it by --chromium`,
    'E_NOT_FOUND',
  );
}

/** An open browser. */
export interface Browser {
  /** Rejects when it ends by itself. */
  readonly ended: Promise<never>;
  /** Ends it, and removes its profile. */
  close(): Promise<void>;
}

/** Opens a page in a headless Chromium with a profile of its own, under further flags of Chromium's. */
export function openBrowser(
  program: string,
  url: string,
  further: readonly string[] = [],
): Browser {
  const profile = mkdtempSync(join(tmpdir(), PROFILE_PREFIX));
  // Its sandbox refuses to run as root.
  const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const flags = [...FLAGS, ...root, ...further, `--user-data-dir=${profile}`];
  const child: ChildProcess = spawn(program, [...flags, url], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
  });
  let closing = false;
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  const exit = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (!closing) reject(new Error(`Chromium ended (${code ?? signal}): ${said.trim()}`));
    });
  });
  ended.catch(() => {});
  return {
    ended,
    async close() {
      closing = true;
      child.kill('SIGKILL');
      await exit;
      // Its helpers may still be writing for a moment.
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}
