import { lstatSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isRunning } from '../platform/node.ts';
import { PROFILE_PREFIX } from './chromium.ts';

/** How Chromium names the folder of the socket of a profile. */
const SOCKET_FOLDER = /^\.?(org\.)?chromium/i;

/** A profile that nobody has touched for so long, in ms, is none of a browser that is about to start. */
const STARTED_MS = 10_000;

/**
 * Removes profiles of browsers that nobody could remove: a process that is killed takes its browser
 * with it, and leaves the profile of some megabytes. One is kept where the process that Chromium's
 * `SingletonLock` in it names (`HOST-PID`) runs, or may run on another machine; one that ends by itself
 * takes that away.
 * @returns paths of what was removed
 */
export function removeStaleProfiles(folder = tmpdir()): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith(PROFILE_PREFIX))
    .map((name) => join(folder, name))
    .filter((profile) => {
      try {
        if (!isStale(profile)) return false;
        const socket = linkIn(profile, 'SingletonSocket');
        rmSync(profile, { recursive: true, force: true });
        if (socket && SOCKET_FOLDER.test(basename(dirname(socket)))) {
          rmSync(dirname(socket), { recursive: true, force: true });
        }
        return true;
      } catch {
        // Somebody else's, or being removed by somebody else.
        return false;
      }
    });
}

function isStale(profile: string): boolean {
  const owner = /^(.*)-(\d+)$/.exec(linkIn(profile, 'SingletonLock') ?? '');
  if (!owner) return Date.now() - lstatSync(profile).mtimeMs > STARTED_MS;
  const [, host, pid] = owner;
  return host === hostname() && !isRunning(Number(pid));
}

/** What a link in a folder says; undefined where there is none. */
function linkIn(folder: string, name: string): string | undefined {
  try {
    return readlinkSync(join(folder, name));
  } catch {
    return undefined;
  }
}
