import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/**
 * Flags under which Debian's Chromium gives a page WebGPU and WebGL 2 computed in software, and
 * leaves the network alone.
 */
const FLAGS = [
  ...['--headless=new', '--no-sandbox', '--no-first-run', '--disable-quic', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-extensions'],
  ...['--enable-unsafe-webgpu', '--enable-features=Vulkan', '--use-webgpu-adapter=swiftshader'],
  ...['--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-dev-shm-usage'],
];

/** The Chromium of this machine (`$CHROMIUM` names another); undefined where there is none. */
export function findChromium(): string | undefined {
  const names = process.env.CHROMIUM ? [process.env.CHROMIUM] : NAMES;
  return names.find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0);
}

/** An open browser. */
export interface Browser {
  /** Rejects when it ends by itself. */
  readonly ended: Promise<never>;
  close(): Promise<void>;
}

/** Opens a page in a headless Chromium with a profile of its own. */
export function openBrowser(program: string, url: string): Browser {
  const profile = mkdtempSync(join(tmpdir(), 'mobillm-chromium-'));
  const child: ChildProcess = spawn(program, [...FLAGS, `--user-data-dir=${profile}`, url], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let closing = false;
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  const exit = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (!closing) reject(new Error(`Chromium ended (${code ?? signal}): ${said}`));
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
