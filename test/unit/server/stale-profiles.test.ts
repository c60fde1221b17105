import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { removeStaleProfiles } from '../../../src/server/stale-profiles.ts';
import { findChromium } from '../../support/chromium.ts';

const folder = mkdtempSync(join(tmpdir(), 'mobillm-stale-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A number that no process has. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  return child.pid as number;
}

test('profiles of browsers that are gone are removed, and no others', async () => {
  const made = (name: string, lock?: string) => {
    const path = join(folder, name);
    mkdirSync(join(path, 'Default'), { recursive: true });
    if (lock) symlinkSync(lock, join(path, 'SingletonLock'));
    return path;
  };
  const dead = await deadPid();
  const gone = made('mobillm-chromium-AAAAAA', `${hostname()}-${dead}`);
  const socket = join(folder, 'org.chromium.Chromium.abcdef');
  mkdirSync(socket);
  symlinkSync(join(socket, 'SingletonSocket'), join(gone, 'SingletonSocket'));
  const old = made('mobillm-chromium-BBBBBB');
  const longAgo = Date.now() / 1000 - 3600;
  utimesSync(old, longAgo, longAgo);
  made('mobillm-chromium-CCCCCC', `${hostname()}-${process.pid}`);
  made('mobillm-chromium-DDDDDD', `another-machine-${dead}`);
  // Its browser may be about to come up.
  made('mobillm-chromium-EEEEEE');
  made('something-else', `${hostname()}-${dead}`);
  assert.deepEqual(removeStaleProfiles(folder).sort(), [gone, old]);
  assert.deepEqual(readdirSync(folder).sort(), [
    ...['mobillm-chromium-CCCCCC', 'mobillm-chromium-DDDDDD', 'mobillm-chromium-EEEEEE'],
    'something-else',
  ]);
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
});

const isRunning = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const chromium = findChromium();

test('a browser whose process is killed ends with it, and its profile goes at the next start', {
  skip: !chromium && 'there is no Chromium here (chromium, or $CHROMIUM)',
}, async () => {
  const browser = fileURLToPath(new URL('../../../src/server/chromium.ts', import.meta.url));
  const script = `
    const { openBrowser } = await import(${JSON.stringify(browser)});
    openBrowser(${JSON.stringify(chromium)}, 'about:blank');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const lockOf = () => {
    const [profile] = readdirSync(folder).filter((name) => name.startsWith('mobillm-chromium-'));
    try {
      return readlinkSync(join(folder, profile, 'SingletonLock'));
    } catch {
      return undefined;
    }
  };
  let pid = 0;
  try {
    while (lockOf() === undefined) {
      assert.equal(child.exitCode, null, 'it started no browser');
      await sleep(50);
    }
    pid = Number(lockOf()?.split('-').at(-1));
    assert.deepEqual(removeStaleProfiles(folder), [], 'it runs');
  } finally {
    child.kill('SIGKILL');
  }
  // The browser has to see that its pipe has ended.
  while (isRunning(pid)) await sleep(50);
  const longAgo = Date.now() / 1000 - 3600;
  const [profile] = readdirSync(folder)
    .filter((name) => name.startsWith('mobillm-chromium-'))
    .map((name) => join(folder, name));
  utimesSync(profile, longAgo, longAgo);
  assert.deepEqual(removeStaleProfiles(folder), [profile]);
  assert.ok(!existsSync(profile));
});
